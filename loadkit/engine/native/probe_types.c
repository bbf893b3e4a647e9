/* Probes and answers for a loop that is not ours, uvloop's or asyncio's: Prober and Answers.
 *
 * Each has an epoll instance of its own, which that loop watches (an epoll fd is itself readable, epoll(7)): libuv
 * would take a probe's EPOLLERR, by which the kernel says that it has something to tell of sending, for a broken
 * socket.
 */
#include "probe_types.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "answers.h"

enum { EVENTS = 64 };

/* For PyArg_ParseTuple's O&: a machine's key of MACHINE_KEY_BYTES. */
int read_key(PyObject *object, void *key) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &bytes, &length)) return 0;
    if (length != MACHINE_KEY_BYTES) return refuse(PyExc_ValueError, "a machine's key has MACHINE_KEY_BYTES"), 0;
    *(struct key *)key = key_read((const unsigned char *)bytes);
    return 1;
}

int read_probes(struct prober *prober, struct board *board, PyObject *probes) {
    long long size, period;
    struct key machine;
    PyObject *peers;
    if (!PyTuple_Size(probes)) return 0;
    if (!PyArg_ParseTuple(probes, "LLO&O!;probes", &size, &period, read_key, &machine, &PyTuple_Type, &peers))
        return -1;
    if (size < LEAST_PROBED_BYTES || size > MOST_PROBED_BYTES || period < 2)
        return refuse(PyExc_ValueError, "a probe's message has LEAST_ to MOST_PROBED_BYTES, and a period");
    if (prober_open(prober, board, (size_t)size, period, machine)) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_Size(peers); i++) {
        int fd, peer;
        if (!PyArg_ParseTuple(PyTuple_GetItem(peers, i), "ii;a probe", &fd, &peer)) goto failed;
        if (peer < PEER_same_clock || peer > PEER_foreign) {
            refuse(PyExc_ValueError, "there is no such kind of peer");
            goto failed;
        }
        if (prober_add(prober, fd, peer)) goto failed;
    }
    return 0;
failed:
    prober->count = 0; /* the descriptors stay whose they were */
    return -1;
}

static int watch(int epoll_fd, int fd, uint32_t index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static bool read_waited(PyObject *args, struct waited *waited) {
    long long call, back;
    int count;
    if (!PyArg_ParseTuple(args, "LLi:receive", &call, &back, &count)) return false;
    *waited = (struct waited){call, back, count};
    return true;
}

/* -- Prober */

struct prober_object {
    struct core core;
    int epoll_fd;
    struct board board;
    struct prober prober;
};

static int open_prober(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct prober_object *self = (struct prober_object *)object;
    static char *names[] = {"words", "phases", "probes", NULL};
    PyObject *probes;
    int phases;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*iO!:Prober", names, &self->core.words, &phases, &PyTuple_Type,
                                     &probes))
        return -1;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_fd < 0 || board_open(&self->board, self->core.words.buf, self->core.words.len / 8, phases) ||
        read_probes(&self->prober, &self->board, probes)) {
        if (!PyErr_Occurred()) PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    for (int i = 0; i < self->prober.count; i++)
        if (watch(self->epoll_fd, self->prober.probes[i].fd, (uint32_t)i)) {
            self->prober.count = 0;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
    return 0;
}

static void close_prober(PyObject *object) {
    struct prober_object *self = (struct prober_object *)object;
    prober_close(&self->prober);
    board_close(&self->board);
    if (self->epoll_fd >= 0) close(self->epoll_fd);
}

static PyObject *prober_begin_phase(PyObject *self, PyObject *args) {
    struct prober_object *object = core_of(self);
    int index;
    long long at;
    if (!object || !PyArg_ParseTuple(args, "iL:begin_phase", &index, &at)) return NULL;
    if (index < 0 || index >= object->board.phases) return refuse(PyExc_ValueError, "there is no such phase"), NULL;
    board_begin_phase(&object->board, index, at);
    Py_RETURN_NONE;
}

static PyObject *prober_start_method(PyObject *self, PyObject *args) {
    struct prober_object *object = core_of(self);
    long long at;
    if (!object || !PyArg_ParseTuple(args, "L:start", &at)) return NULL;
    prober_start(&object->prober, at);
    Py_RETURN_NONE;
}

static PyObject *prober_stop_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct prober_object *object = core_of(self);
    if (!object) return NULL;
    prober_stop(&object->prober);
    Py_RETURN_NONE;
}

static PyObject *next_time(const struct prober *prober) {
    int64_t next = prober_next(prober);
    if (next == NEVER) Py_RETURN_NONE;
    return PyLong_FromLongLong(next);
}

static PyObject *prober_send_due_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct prober_object *object = core_of(self);
    if (!object) return NULL;
    prober_send_due(&object->prober, clock_ns());
    return next_time(&object->prober);
}

static PyObject *prober_receive_method(PyObject *self, PyObject *args) {
    struct prober_object *object = core_of(self);
    struct waited waited;
    struct epoll_event events[EVENTS];
    if (!object || !read_waited(args, &waited)) return NULL;
    count_apart(&object->prober.apart, board_page(&object->board, waited.return_ns), &waited);
    int count = epoll_wait(object->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++) prober_receive(&object->prober, (int)events[i].data.u32, &waited);
    prober_send_due(&object->prober, clock_ns());
    return next_time(&object->prober);
}

static PyMethodDef prober_methods[] = {
    {"fileno", core_fileno, METH_NOARGS, "The epoll fd: readable when something came for a probe."},
    {"begin_phase", prober_begin_phase, METH_VARARGS, "Phase INDEX begins AT (monotonic ns)."},
    {"start", prober_start_method, METH_VARARGS, "Messages are due from then on (monotonic ns)."},
    {"stop", prober_stop_method, METH_NOARGS, "Nothing is due any more; replies are still taken."},
    {"send_due", prober_send_due_method, METH_NOARGS,
     "Sends what is due; returns when the next is (monotonic ns), or None."},
    {"receive", prober_receive_method, METH_VARARGS,
     "Takes what came, which a call of epoll_wait said (made, returned, its events), and sends what is due; as "
     "send_due."},
    {"close", core_close, METH_NOARGS, "Closes the probes."},
    {NULL, NULL, 0, NULL},
};

CORE_TYPE(prober, Prober, "A worker's probes, of the blast end.", epoll_fd);

/* -- Answers */

struct answers_object {
    struct core core;
    int epoll_fd;
    struct board board;
    struct answers answers;
};

static int open_answers(PyObject *object, PyObject *args, PyObject *kwargs) {
    struct answers_object *self = (struct answers_object *)object;
    static char *names[] = {"words", "machine", "peers", "idle_timeout", NULL};
    struct key machine;
    long long idle_timeout;
    int peers;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "w*O&iL:Answers", names, &self->core.words, read_key, &machine,
                                     &peers, &idle_timeout))
        return -1;
    answers_open(&self->answers, peers, machine, idle_timeout);
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_fd < 0 || board_open(&self->board, self->core.words.buf, self->core.words.len / 8, 1)) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static void drop_answer(struct answers_object *self, struct answer *answer) {
    close(answer->fd);
    answers_drop(&self->answers, answer);
}

static void close_answers(PyObject *object) {
    struct answers_object *self = (struct answers_object *)object;
    while (self->answers.count) drop_answer(self, self->answers.all[0]);
    board_close(&self->board);
    if (self->epoll_fd >= 0) close(self->epoll_fd);
}

static PyObject *answers_greet_method(PyObject *self, PyObject *args) {
    struct answers_object *object = core_of(self);
    int fd;
    const char *bytes;
    Py_ssize_t length;
    if (!object || !PyArg_ParseTuple(args, "iy#:greet", &fd, &bytes, &length)) return NULL;
    if (!is_hello((const unsigned char *)bytes, (size_t)length)) return PyBytes_FromStringAndSize(bytes, length);
    unsigned char hello[HELLO_BYTES];
    memcpy(hello, bytes, sizeof hello);
    struct answer *answer = answers_greet(&object->answers, fd, hello);
    if (!answer) return PyBytes_FromStringAndSize((const char *)hello, sizeof hello);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = answer};
    object->board.first_page[COUNT_probes]++;
    if (epoll_ctl(object->epoll_fd, EPOLL_CTL_ADD, fd, &event)) drop_answer(object, answer);
    Py_RETURN_NONE;
}

static PyObject *answers_receive(PyObject *self, PyObject *args) {
    struct answers_object *object = core_of(self);
    struct waited waited;
    struct epoll_event events[EVENTS];
    if (!object || !read_waited(args, &waited)) return NULL;
    count_apart(&object->answers.apart, object->board.first_page, &waited);
    int count = epoll_wait(object->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++)
        if (answer_receive(events[i].data.ptr, &waited)) drop_answer(object, events[i].data.ptr);
    Py_RETURN_NONE;
}

static PyObject *answers_end_idle_method(PyObject *self, PyObject *unused) {
    (void)unused;
    struct answers_object *object = core_of(self);
    if (!object) return NULL;
    int64_t now = clock_ns();
    if (object->answers.look_ns <= now) answers_end_idle(&object->answers, now);
    Py_RETURN_NONE;
}

static PyObject *answers_open_count(PyObject *self, PyObject *unused) {
    (void)unused;
    struct answers_object *object = core_of(self);
    return object ? PyLong_FromLong(object->answers.count) : NULL;
}

static PyMethodDef answers_methods[] = {
    {"fileno", core_fileno, METH_NOARGS, "The epoll fd: readable when something came from a probe."},
    {"greet", answers_greet_method, METH_VARARGS,
     "Welcomes what came on a file descriptor if it is a hello, and takes it over: None; else returns what to send "
     "back."},
    {"receive", answers_receive, METH_VARARGS,
     "Answers what came, which a call of epoll_wait said (made, returned, its events)."},
    {"end_idle", answers_end_idle_method, METH_NOARGS,
     "Shuts down those that have been idle for too long; to be called now and then."},
    {"count", answers_open_count, METH_NOARGS, "How many probes there are."},
    {"close", core_close, METH_NOARGS, "Closes them all."},
    {NULL, NULL, 0, NULL},
};

CORE_TYPE(answers, Answers, "The probes of others, at a worker of the serve end.", epoll_fd);
