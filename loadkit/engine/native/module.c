/* The Python side of the compiled engine: two types, Blast and Serve, each a worker's core around one epoll fd.
 *
 * A turn runs without the GIL. All the methods have to be called from one thread, the event loop's; a Blast or a Serve
 * is used for one run and closed.
 */
#include "types.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "blast.h"
#include "probe_types.h"
#include "serve.h"
#include "zeros.h"

#define HOLDER struct options
static const struct row blast_rows[] = ROWS(BLAST_ROWS);
#undef HOLDER
#define HOLDER struct phase
static const struct row phase_rows[] = ROWS(PHASE_ROWS);
#undef HOLDER
#define HOLDER struct route
static const struct row route_rows[] = ROWS(ROUTE_ROWS);
#undef HOLDER
#define HOLDER struct serve_options
static const struct row serve_rows[] = ROWS(SERVE_ROWS);
#undef HOLDER
#define HOLDER struct setting
static const struct row setting_rows[] = ROWS(SETTING_ROWS);
#undef HOLDER

struct blast_object {
    struct core core;
    Py_buffer before;
    struct blast blast;
};

struct serve_object {
    struct core core;
    Py_buffer tokens;
    struct serve serve;
};

/* Slots for as many connections as the soft limit of file descriptors lets there be, or as `most` says. */
static uint32_t slot_limit(uint64_t most) {
    struct rlimit limit;
    uint64_t files = getrlimit(RLIMIT_NOFILE, &limit) ? 1024 : limit.rlim_cur;
    if (files > most) files = most;
    return files < UINT32_MAX - 1 ? (uint32_t)files : UINT32_MAX - 1;
}

static int read_settings(struct settings *settings, PyObject *rows) {
    Py_ssize_t count = PyTuple_Size(rows);
    if (count > MOST_SETTINGS) return refuse(PyExc_ValueError, "there are more settings than a slot has room for");
    settings->count = (uint32_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (rows_read(PyTuple_GetItem(rows, i), setting_rows, &settings->rows[i])) return -1;
        settings->are_given |= settings->rows[i].value.length > 0;
    }
    return 0;
}

/* -- Blast. What Python says arms the timer in the past, so that the loop calls for a turn. */

static int read_route(PyObject *item, int64_t port, struct route *route) {
    if (rows_read(item, route_rows, route)) return -1;
    if (route->port_low && (route->next_port < route->port_low || route->next_port > route->port_high))
        return refuse(PyExc_ValueError, "next_port has to be from port_low to port_high");
    /* It stands in the same place in both families. */
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

static int open_blast(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct blast_object *self = (struct blast_object *)object;
    static char *names[] = {"words", "control_fd", "options", "phases", "routes", "settings", "probes", NULL};
    struct blast *blast = &self->blast;
    struct options *options = &blast->options;
    PyObject *values, *phases, *routes, *settings, *probes;
    int control_fd;
    self->blast.poller.timer_fd = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*iOO!O!O!O!:Blast", names, &self->core.words, &control_fd, &values,
                                     &PyTuple_Type, &phases, &PyTuple_Type, &routes, &PyTuple_Type, &settings,
                                     &PyTuple_Type, &probes))
        return -1;
    if (rows_read(values, blast_rows, options)) return -1;
    if (options->index >= options->of) return refuse(PyExc_ValueError, "index has to be below of");
    if (read_phases(blast, phases) || read_routes(blast, routes) || read_settings(&blast->settings, settings))
        return -1;
    stamper_open(&blast->stamper, options->reads_stamps);
    int64_t under_way = options->size > INT32_MAX / options->depth ? INT32_MAX : options->size * options->depth;
    if (board_open(&blast->board, self->core.words.buf, self->core.words.len / 8, blast->phases) ||
        stream_open(&blast->stream, options->period, under_way) ||
        connections_open(blast, slot_limit((uint64_t)options->most_slots)) ||
        open_prober(&blast->prober, &blast->board, probes) || blast_open(blast, control_fd)) {
        if (!PyErr_Occurred()) PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static void close_blast(PyObject *object) {
    struct blast_object *self = (struct blast_object *)object;
    blast_close(&self->blast);
    if (self->before.obj) PyBuffer_Release(&self->before);
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

static PyObject *make_blast(PyTypeObject *type, PyObject *args, PyObject *kwargs);
static const struct core_type blast_type = {
    .name = "loadkit.engine.native._core.Blast",
    .doc = "A shard of the blast end under way.",
    .size = sizeof(struct blast_object),
    .epoll_fd = offsetof(struct blast_object, blast.poller.epoll_fd),
    .make = make_blast,
    .open = open_blast,
    .close = close_blast,
    .methods = blast_methods,
};

static PyObject *make_blast(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return core_make(type, args, kwargs, &blast_type);
}

/* -- Serve */

static int read_listeners(struct serve *serve, PyObject *fds) {
    Py_ssize_t count = PyTuple_Size(fds);
    serve->listeners = calloc((size_t)count + 1, sizeof *serve->listeners);
    if (!serve->listeners) return PyErr_NoMemory(), -1;
    serve->listener_count = (uint32_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        long fd = PyLong_AsLong(PyTuple_GetItem(fds, i));
        if (PyErr_Occurred()) return -1;
        if (fd < 0 || fd > INT_MAX) return refuse(PyExc_ValueError, "a listener has to be a file descriptor");
        serve->listeners[i] = (int)fd;
    }
    return 0;
}

/* None: there is no limit. */
static int read_tokens(struct serve_object *self, PyObject *tokens) {
    if (tokens == Py_None) return 0;
    if (PyObject_GetBuffer(tokens, &self->tokens, PyBUF_WRITABLE)) return -1;
    int64_t notes = (self->tokens.len / 8 - TOKENS_HEAD_WORDS) / TOKENS_NOTE_WORDS, index = self->serve.options.index;
    if (index >= notes) return refuse(PyExc_ValueError, "index has to be that of a worker with a note in tokens");
    self->serve.tokens = tokens_of(self->tokens.buf, (uint32_t)index);
    return 0;
}

static int open_serve(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct serve_object *self = (struct serve_object *)object;
    static char *names[] = {"words", "control_fd", "options", "listeners", "settings", "tokens", "machine", NULL};
    struct serve *serve = &self->serve;
    struct serve_options *options = &serve->options;
    PyObject *values, *fds, *settings, *tokens;
    int control_fd;
    struct key machine;
    self->serve.poller.timer_fd = self->serve.spare_fd = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*iOO!O!OO&:Serve", names, &self->core.words, &control_fd, &values,
                                     &PyTuple_Type, &fds, &PyTuple_Type, &settings, &tokens, read_key, &machine))
        return -1;
    if (rows_read(values, serve_rows, options)) return -1;
    answers_open(&serve->answers, (enum probe_peers)options->probe_peers, machine, options->idle_timeout_ns);
    stamper_open(&serve->stamper, options->reads_stamps);
    if (read_settings(&serve->settings, settings) || read_tokens(self, tokens) || read_listeners(serve, fds)) return -1;
    if (board_open(&serve->board, self->core.words.buf, self->core.words.len / 8, 1) ||
        serve_open(serve, control_fd, slot_limit((uint64_t)options->most_slots))) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static void close_serve(PyObject *object) {
    struct serve_object *self = (struct serve_object *)object;
    serve_close(&self->serve);
    if (self->tokens.obj) PyBuffer_Release(&self->tokens);
}

static struct serve *serve_of(PyObject *self) {
    struct serve_object *object = core_of(self);
    return object ? &object->serve : NULL;
}

static PyObject *serve_stop_method(PyObject *self, PyObject *args) {
    long long grace, settle;
    struct serve *serve = serve_of(self);
    if (!serve || !PyArg_ParseTuple(args, "LL:stop", &grace, &settle)) return NULL;
    if (grace < 0 || grace > LONGEST_NS) return refuse(PyExc_ValueError, "it has to be within 36 years"), NULL;
    if (settle < 0 || settle > grace) return refuse(PyExc_ValueError, "it has to settle within the grace"), NULL;
    serve_stop(serve, grace, settle);
    Py_RETURN_NONE;
}

static PyObject *serve_leave_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct serve *serve = serve_of(self);
    if (!serve) return NULL;
    serve_finish(serve);
    poller_arm(&serve->poller, 1);
    Py_RETURN_NONE;
}

static PyObject *serve_turn_method(PyObject *self, PyObject *args) {
    long long linger;
    int says;
    struct serve *serve = serve_of(self);
    if (!serve || !PyArg_ParseTuple(args, "L:turn", &linger)) return NULL;
    if (serve->is_done) return PyLong_FromLong(TURN_DONE);
    Py_BEGIN_ALLOW_THREADS
    says = serve_turn(serve, linger);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(says);
}

static PyMethodDef serve_methods[] = {
    {"fileno", core_fileno, METH_NOARGS, "The epoll fd: readable when there is something to do."},
    {"stop", serve_stop_method, METH_VARARGS,
     "Accepts for the second time (ns) and no more; it is over when all peers have gone, or after the first."},
    {"leave", serve_leave_method, METH_NOARGS, "Ends at once."},
    {"turn", serve_turn_method, METH_VARARGS, "Works for so long (ns) at most; returns HEARD and DONE, or'ed."},
    {"close", core_close, METH_NOARGS, "Gives everything back."},
    {NULL, NULL, 0, NULL},
};

static PyObject *make_serve(PyTypeObject *type, PyObject *args, PyObject *kwargs);
static const struct core_type serve_type = {
    .name = "loadkit.engine.native._core.Serve",
    .doc = "A worker of the serve end under way.",
    .size = sizeof(struct serve_object),
    .epoll_fd = offsetof(struct serve_object, serve.poller.epoll_fd),
    .make = make_serve,
    .open = open_serve,
    .close = close_serve,
    .methods = serve_methods,
};

static PyObject *make_serve(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return core_make(type, args, kwargs, &serve_type);
}

/* -- the module */

#define AS_STRING(name) #name,
static const char *const state_names[] = {STATE_NAMES(AS_STRING) NULL};
static const char *const counter_names[] = {COUNTER_NAMES(AS_STRING) NULL};
static const char *const histogram_names[] = {HISTOGRAM_NAMES(AS_STRING) NULL};
static const char *const stage_names[] = {STAGE_NAMES(AS_STRING) NULL};
static const char *const step_names[] = {STEP_NAMES(AS_STRING) NULL};
static const char *const proof_names[] = {PROOF_NAMES(AS_STRING) NULL};

static int add_names(PyObject *module, const char *key, const char *const *names) {
    Py_ssize_t count = 0;
    while (names[count]) count++;
    PyObject *tuple = PyTuple_New(count);
    if (!tuple) return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (!name || PyTuple_SetItem(tuple, i, name)) {
            Py_DECREF(tuple);
            return -1;
        }
    }
    int failed = PyModule_AddObjectRef(module, key, tuple);
    Py_DECREF(tuple);
    return failed;
}

static int add_own_errors(PyObject *module) {
#define AS_ENTRY(name, number) || PyModule_AddIntConstant(module, #name, number)
    return 0 OWN_ERRORS(AS_ENTRY);
}

static int fill_module(PyObject *module) {
    if (core_add_type(module, &blast_type) || core_add_type(module, &serve_type) ||
        core_add_type(module, &prober_type) || core_add_type(module, &answers_type))
        return -1;
    if (add_names(module, "STATE", state_names) || add_names(module, "COUNTERS", counter_names) ||
        add_names(module, "HISTOGRAMS", histogram_names) || add_names(module, "STAGES", stage_names) ||
        add_names(module, "STEPS", step_names) || add_names(module, "PROOFS", proof_names))
        return -1;
    if (rows_add_names(module, "BLAST_ROWS", blast_rows) || rows_add_names(module, "PHASE_ROWS", phase_rows) ||
        rows_add_names(module, "ROUTE_ROWS", route_rows) || rows_add_names(module, "SERVE_ROWS", serve_rows) ||
        rows_add_names(module, "SETTING_ROWS", setting_rows))
        return -1;
    if (PyModule_AddIntConstant(module, "AWAKE_NS", AWAKE_NS) || PyModule_AddIntConstant(module, "HEARD", TURN_HEARD) ||
        PyModule_AddIntConstant(module, "PHASE", TURN_PHASE) || PyModule_AddIntConstant(module, "DONE", TURN_DONE) ||
        PyModule_AddIntConstant(module, "TAIL_ROWS", TAIL_ROWS) ||
        PyModule_AddIntConstant(module, "TOKENS_HEAD_WORDS", TOKENS_HEAD_WORDS) ||
        PyModule_AddIntConstant(module, "HELLO_BYTES", HELLO_BYTES) ||
        PyModule_AddIntConstant(module, "TRAILER_BYTES", TRAILER_BYTES) ||
        PyModule_AddIntConstant(module, "LEAST_PROBED_BYTES", LEAST_PROBED_BYTES) ||
        PyModule_AddIntConstant(module, "MOST_PROBED_BYTES", MOST_PROBED_BYTES) ||
        PyModule_AddIntConstant(module, "MOST_ANSWERS", MOST_ANSWERS) ||
        PyModule_AddIntConstant(module, "REFUSED_OFF", REFUSED_off) ||
        PyModule_AddIntConstant(module, "REFUSED_FULL", REFUSED_full) ||
        PyModule_AddStringConstant(module, "REFUSAL_TEXT", REFUSAL_TEXT) ||
        PyModule_AddStringConstant(module, "HELLO_TEXT", HELLO_TEXT) ||
        PyModule_AddStringConstant(module, "WELCOME_TEXT", WELCOME_TEXT) ||
        PyModule_AddIntConstant(module, "ERRNOS", ERRNOS) ||
        PyModule_AddIntConstant(module, "CONNECTION_BYTES", sizeof(struct connection)) ||
        PyModule_AddIntConstant(module, "PEER_BYTES", sizeof(struct peer)))
        return -1;
    return add_own_errors(module) ? -1 : 0;
}

static PyObject *give_back_zeros_of(PyObject *self, PyObject *object) {
    (void)self;
    PyObject *size = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__basicsize__");
    if (!size) return NULL;
    size_t length = PyLong_AsSize_t(size);
    Py_DECREF(size);
    return PyErr_Occurred() ? NULL : PyLong_FromSize_t(give_back_zeros(object, length));
}

static PyObject *connection_number(PyObject *self, PyObject *args) {
    (void)self;
    struct key machine, key;
    int fd, is_accepted;
    unsigned long long number;
    if (!PyArg_ParseTuple(args, "O&ipK:connection_number", read_key, &machine, &fd, &is_accepted, &number)) return NULL;
    if (key_of_connection(&key, machine, fd, is_accepted)) return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromUnsignedLongLong(key_number(key, number));
}

static PyMethodDef module_methods[] = {
    {"connection_number", connection_number, METH_VARARGS,
     "What both ends of a connection on one machine know: of its key, a file descriptor, whether it was accepted "
     "there, a number."},
    {"give_back_zeros", give_back_zeros_of, METH_O,
     "Gives back the pages of an object that hold only zeros; how many bytes."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill_module},
    {0, NULL},
};
static struct PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_doc = "loadkit's compiled engine: a worker's core around one epoll fd.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&module_definition); }
