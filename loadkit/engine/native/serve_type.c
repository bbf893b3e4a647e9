/* Serve: a worker of the serve end under way, as Python has it. */
#include "end_types.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

#include "probe_types.h"
#include "serve.h"

#define HOLDER struct serve_options
static const struct row serve_rows[] = ROWS(SERVE_ROWS);
#undef HOLDER

struct serve_object {
    struct core core;
    Py_buffer tokens;
    struct serve serve;
};

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

CORE_TYPE(serve, Serve, "A worker of the serve end under way.", serve.poller.epoll_fd);

int serve_add_names(PyObject *module) { return rows_add_names(module, "SERVE_ROWS", serve_rows); }
