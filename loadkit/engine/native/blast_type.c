/* Blast: a shard of the blast end under way, as Python has it. What Python says arms the timer in the past, so that the
 * loop calls for a turn. */
#include "end_types.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "blast.h"
#include "probe_types.h"
#include "schedule_types.h"
#include "script_types.h"
#include "wire_types.h"

#define HOLDER struct options
static const struct row blast_rows[] = ROWS(BLAST_ROWS);
#undef HOLDER
#define HOLDER struct phase
static const struct row phase_rows[] = ROWS(PHASE_ROWS);
#undef HOLDER
#define HOLDER struct route
static const struct row route_rows[] = ROWS(ROUTE_ROWS);
#undef HOLDER

struct blast_object {
    struct core core;
    Py_buffer before;
    struct script_buffers buffers;
    struct blast blast;
};

static int read_route(PyObject *item, int64_t port, struct route *route) {
    if (rows_read(item, route_rows, route)) return -1;
    if (route->port_low && (route->next_port < route->port_low || route->next_port > route->port_high))
        return refuse(PyExc_ValueError, "next_port has to be from port_low to port_high");
    /* It stands in the same place in both families of IP. */
    if (route->destination.ss_family != AF_UNIX)
        ((struct sockaddr_in *)&route->destination)->sin_port = htons((uint16_t)port);
    return 0;
}

static int read_phases(struct blast *blast, PyObject *phases) {
    Py_ssize_t count = PyTuple_Size(phases);
    if (count < 1) return refuse(PyExc_ValueError, "there has to be a phase");
    blast->phases = (int)count;
    blast->phase_plans = calloc((size_t)count, sizeof *blast->phase_plans);
    if (!blast->phase_plans) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++)
        if (rows_read(PyTuple_GetItem(phases, i), phase_rows, &blast->phase_plans[i])) return -1;
    if (!blast->phase_plans[count - 1].is_drain) return refuse(PyExc_ValueError, "the last phase has to be the drain");
    return 0;
}

static int read_routes(struct blast *blast, PyObject *routes) {
    Py_ssize_t count = PyTuple_Size(routes);
    int64_t total = 0;
    blast->route_count = (uint32_t)count;
    blast->routes = calloc((size_t)count + 1, sizeof *blast->routes);
    if (!blast->routes) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_route(PyTuple_GetItem(routes, i), blast->options.port, &blast->routes[i])) return -1;
        total += blast->routes[i].connections;
    }
    if (total < 1) return refuse(PyExc_ValueError, "there has to be a route with a connection");
    return 0;
}

/* A text, and the values of its rule or None. */
static int read_step(PyObject *item, struct setup_step *step) {
    const char *bytes;
    Py_ssize_t length;
    PyObject *rule;
    if (!PyTuple_Check(item)) return refuse(PyExc_TypeError, "a step of a set-up is a tuple");
    if (!PyArg_ParseTuple(item, "y#O;a step of a set-up", &bytes, &length, &rule)) return -1;
    step->bytes = malloc((size_t)length + 1);
    if (!step->bytes) return PyErr_NoMemory(), -1;
    memcpy(step->bytes, bytes, (size_t)length);
    step->length = (size_t)length;
    step->is_answered = rule != Py_None;
    if (!step->is_answered) return 0;
    if (read_rule(&step->rule, rule)) return -1;
    return step->rule.wire == WIRE_echo ? refuse(PyExc_ValueError, "nothing comes back in a set-up") : 0;
}

static int read_setup(struct setup *setup, PyObject *steps) {
    Py_ssize_t count = PyTuple_Size(steps);
    if (count > MOST_STEPS) return refuse(PyExc_ValueError, "a set-up has too many steps");
    setup->steps = calloc((size_t)count + 1, sizeof *setup->steps);
    if (!setup->steps) return PyErr_NoMemory(), -1;
    setup->count = (uint32_t)count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (read_step(PyTuple_GetItem(steps, i), &setup->steps[i])) return -1;
    return 0;
}

static int open_blast(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct blast_object *self = (struct blast_object *)object;
    static char *names[] = {"words",  "control_fd", "options",  "script", "rule",   "setup",
                            "phases", "routes",     "settings", "probes", "pauses", NULL};
    struct blast *blast = &self->blast;
    struct options *options = &blast->options;
    PyObject *values, *script, *rule, *setup, *phases, *routes, *settings, *probes, *pauses;
    int control_fd;
    self->blast.poller.timer_fd = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*iOO!OO!O!O!O!O!O!:Blast", names, &self->core.words, &control_fd,
                                     &values, &PyTuple_Type, &script, &rule, &PyTuple_Type, &setup, &PyTuple_Type,
                                     &phases, &PyTuple_Type, &routes, &PyTuple_Type, &settings, &PyTuple_Type, &probes,
                                     &PyTuple_Type, &pauses))
        return -1;
    if (rows_read(values, blast_rows, options) || read_rule(&blast->rule, rule)) return -1;
    if (read_setup(&blast->setup, setup)) return -1;
    if (options->index >= options->of) return refuse(PyExc_ValueError, "index has to be below of");
    if (read_phases(blast, phases) || read_routes(blast, routes) || read_settings(&blast->settings, settings))
        return -1;
    if (read_pauses(&blast->pauses, pauses)) return -1;
    if (pauses_are_asked(&blast->pauses) && options->depth > 1)
        return refuse(PyExc_ValueError, "a connection that pauses has one message at a time");
    stamper_open(&blast->stamper, options->reads_stamps);
    if (board_open(&blast->board, self->core.words.buf, self->core.words.len / 8, blast->phases) ||
        read_script(&blast->script, &self->buffers, script) ||
        slots_open(blast, slot_limit((uint64_t)options->most_slots)) ||
        read_probes(&blast->prober, &blast->board, probes) || blast_open(blast, control_fd)) {
        if (!PyErr_Occurred()) PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static void close_blast(PyObject *object) {
    struct blast_object *self = (struct blast_object *)object;
    blast_close(&self->blast);
    if (self->before.obj) PyBuffer_Release(&self->before);
    release_script(&self->buffers);
}

static struct blast *blast_of(PyObject *self) {
    struct blast_object *object = core_of(self);
    return object ? &object->blast : NULL;
}

static PyObject *blast_start_method(PyObject *self, PyObject *args) {
    long long start, place, count, lanes;
    double connect_hz;
    struct blast *blast = blast_of(self);
    if (!blast || !PyArg_ParseTuple(args, "LdLLL:start", &start, &connect_hz, &place, &count, &lanes)) return NULL;
    const struct options *options = &blast->options;
    if (place < 0 || count < 0 || lanes < 1 || place > UINT32_MAX || count > UINT32_MAX || lanes > options->of)
        return refuse(PyExc_ValueError, "place, count and lanes have to be what a shard has"), NULL;
    struct turn turn = {place, count, options->index % lanes, lanes, options->of};
    if (!blast->is_started && blast->stage == STAGE_RAMP) blast_start(blast, start, connect_hz, turn);
    poller_arm(&blast->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *blast_open_first_method(PyObject *self, PyObject *args) {
    long long at;
    struct blast *blast = blast_of(self);
    if (!blast || !PyArg_ParseTuple(args, "L:open_first", &at)) return NULL;
    if (blast->connects.count) return refuse(PyExc_ValueError, "it comes before all others, once"), NULL;
    blast_open_first(blast, at);
    poller_arm(&blast->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *blast_came_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct blast *blast = blast_of(self);
    if (!blast) return NULL;
    return PyBytes_FromStringAndSize((const char *)blast->first.came, blast->first.came_length);
}

static PyObject *blast_start_after_method(PyObject *self, PyObject *args) {
    struct blast_object *object = (struct blast_object *)self;
    struct blast *blast = blast_of(self);
    long long connects;
    Py_buffer words;
    if (!blast || !PyArg_ParseTuple(args, "y*L:start_after", &words, &connects)) return NULL;
    if (object->before.obj || words.len < (Py_ssize_t)(STATE_WORDS * sizeof(int64_t))) {
        PyBuffer_Release(&words);
        return refuse(PyExc_ValueError, "it has to be another worker's slot, once"), NULL;
    }
    object->before = words;
    blast_start_after(blast, words.buf, connects);
    Py_RETURN_NONE;
}

static PyObject *blast_hold_method(PyObject *self, PyObject *args) {
    long long at;
    struct blast *blast = blast_of(self);
    if (!blast || !PyArg_ParseTuple(args, "L:begin_phases", &at)) return NULL;
    if (blast->stage == STAGE_RAMP && blast->next_phase_ns == NEVER) blast_begin_phases(blast, at);
    poller_arm(&blast->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *blast_stop_method(PyObject *self, PyObject *args) {
    long long longest;
    struct blast *blast = blast_of(self);
    if (!blast || !PyArg_ParseTuple(args, "L:stop", &longest)) return NULL;
    if (longest < 0 || longest > LONGEST_NS) return refuse(PyExc_ValueError, "it has to be within 36 years"), NULL;
    if (blast->stage != STAGE_DONE) blast_begin_drain(blast, longest, 0);
    poller_arm(&blast->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *blast_stop_opening_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct blast *blast = blast_of(self);
    if (!blast) return NULL;
    schedule_clear(&blast->connects);
    blast->has_enough = true;
    Py_RETURN_NONE;
}

static PyObject *blast_look_at_tcp_method(PyObject *self, PyObject *args) {
    struct blast *blast = blast_of(self);
    int most;
    if (!blast || !PyArg_ParseTuple(args, "i:look_at_tcp", &most)) return NULL;
    if (most < 0) return refuse(PyExc_ValueError, "there are no fewer than 0"), NULL;
    blast_look_at_tcp(blast, (uint32_t)most);
    Py_RETURN_NONE;
}

static PyObject *blast_watch_tcp_method(PyObject *self, PyObject *args) {
    struct blast *blast = blast_of(self);
    int phase;
    if (!blast || !PyArg_ParseTuple(args, "i:watch_tcp", &phase)) return NULL;
    if (phase >= blast->phases) return refuse(PyExc_ValueError, "there is no such phase"), NULL;
    if (phase < 0)
        tcp_watch_end(blast);
    else
        tcp_watch_begin(blast, phase);
    Py_RETURN_NONE;
}

static PyObject *blast_leave_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct blast *blast = blast_of(self);
    if (!blast) return NULL;
    blast_finish(blast);
    poller_arm(&blast->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *blast_turn_method(PyObject *self, PyObject *args) {
    long long linger;
    int says;
    struct blast *blast = blast_of(self);
    if (!blast || !PyArg_ParseTuple(args, "L:turn", &linger)) return NULL;
    if (blast->stage == STAGE_DONE) return PyLong_FromLong(TURN_DONE);
    Py_BEGIN_ALLOW_THREADS
    says = blast_turn(blast, linger);
    Py_END_ALLOW_THREADS
    return blast->is_out_of_memory ? PyErr_NoMemory() : PyLong_FromLong(says);
}

static PyMethodDef blast_methods[] = {
    {"fileno", core_fileno, METH_NOARGS, "The epoll fd: readable when there is something to do."},
    {"open_first", blast_open_first_method, METH_VARARGS, "Opens the run's first connection at a time (monotonic ns)."},
    {"came", blast_came_method, METH_NOARGS,
     "The first bytes that came on it, until its first reply was right or it failed."},
    {"start", blast_start_method, METH_VARARGS,
     "Begins connecting at a time (monotonic ns), at a rate (hertz, over all): from a place in the lane on, so many, "
     "of so many\n"
     "lanes. Once; said again it changes nothing."},
    {"begin_phases", blast_hold_method, METH_VARARGS, "The ramp ends at that time (monotonic ns)."},
    {"stop", blast_stop_method, METH_VARARGS, "Sends nothing new and waits so long (ns) for replies."},
    {"start_after", blast_start_after_method, METH_VARARGS,
     "Connects after the worker of that slot, which has so many."},
    {"stop_opening", blast_stop_opening_method, METH_NOARGS, "Drops the connects that are still to come."},
    {"look_at_tcp", blast_look_at_tcp_method, METH_VARARGS, "Notes TCP_INFO of so many connections, others each time."},
    {"watch_tcp", blast_watch_tcp_method, METH_VARARGS,
     "That phase is measured, and begins; -1: what was measured is over."},
    {"leave", blast_leave_method, METH_NOARGS, "Ends at once, and counts what was under way as unanswered."},
    {"turn", blast_turn_method, METH_VARARGS, "Works for so long (ns) at most; returns HEARD, PHASE and DONE, or'ed."},
    {"close", core_close, METH_NOARGS, "Gives everything back."},
    {NULL, NULL, 0, NULL},
};

CORE_TYPE(blast, Blast, "A shard of the blast end under way.", blast.poller.epoll_fd);

int blast_add_names(PyObject *module) {
    return rows_add_names(module, "BLAST_ROWS", blast_rows) || rows_add_names(module, "PHASE_ROWS", phase_rows) ||
                   rows_add_names(module, "ROUTE_ROWS", route_rows)
               ? -1
               : 0;
}
