/* The Python side of the compiled engine: its types, the names that Python compares with its own, and two functions.
 *
 * Blast and Serve are each a worker's core around one epoll fd. A turn runs without the GIL. All the methods have to be
 * called from one thread, the event loop's; a Blast or a Serve is used for one run and closed.
 */
#include "end_types.h"

#include "blast.h"
#include "probe_types.h"
#include "proxy.h"
#include "script_types.h"
#include "schedule_types.h"
#include "serve.h"
#include "wire_types.h"
#include "zeros.h"

/* What Python compares with its own (compiled.py), or takes from here. */
#define LISTS(X)                                                                                              \
    X(STATE, STATE_NAMES) X(COUNTERS, COUNTER_NAMES) X(HISTOGRAMS, HISTOGRAM_NAMES) X(STAGES, STAGE_NAMES)    \
    X(HEAD, HEAD_NAMES) X(STEPS, STEP_NAMES) X(PROOFS, PROOF_NAMES) X(PROBE_PEERS, PROBE_PEER_NAMES)          \
    X(PEER_KINDS, PEER_KIND_NAMES) X(WIRES, WIRE_NAMES) X(REPLY_ERRORS, REPLY_ERROR_NAMES)                    \
    X(FRESH, FRESH_NAMES) X(JUDGES, JUDGE_NAMES)
#define NUMBERS(X)                                                                                      \
    X(ERRNOS) X(LAST_OWN) X(SUM_CARRY) X(SUB_BUCKETS) X(TAIL_ROWS) X(MOST_SETTINGS) X(SETTING_WORDS)    \
    X(TOKENS_HEAD_WORDS) X(TOKENS_NOTE_WORDS) X(STANDSTILL_NS) X(REMEMBERED) X(BEAT_NS) X(GAP_NS)       \
    X(GAPS) X(EDGE_NS) X(MOST_WAITING) X(CAME_BYTES) X(TCP_WATCHED) X(TCP_LOOKS) X(BATCH)               \
    X(ACCEPTS_A_TURN) X(IDLE_A_TURN) X(LEAST_PROBED_BYTES) X(MOST_PROBED_BYTES) X(MOST_PROBES)          \
    X(MACHINE_KEY_BYTES) X(HELLO_BYTES) X(TRAILER_BYTES) X(MOST_ANSWERS) X(REFUSED_OFF) X(REFUSED_FULL) \
    X(AWAKE_NS) X(TURN_HEARD) X(TURN_PHASE) X(TURN_DONE) X(CONNECTION_BYTES) X(PEER_BYTES) \
    X(PATCH_SHIFT) X(PATCH_DIGITS_SHIFT) X(MOST_STEPS) X(WRONG_WORDS)
#define TEXTS(X) X(HELLO_TEXT) X(WELCOME_TEXT) X(REFUSAL_TEXT)
enum { CONNECTION_BYTES = sizeof(struct connection), PEER_BYTES = sizeof(struct peer) };

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

static int add_lists(PyObject *module) {
#define AS_TEXT(name) #name,
#define AS_LIST(key, list) || add_names(module, #key, (const char *const[]){list(AS_TEXT) NULL})
    return 0 LISTS(AS_LIST);
}

static int add_values(PyObject *module) {
#define AS_INTEGER(name) || PyModule_AddIntConstant(module, #name, name)
#define AS_STRING(name) || PyModule_AddStringConstant(module, #name, name)
#define AS_OWN_INTEGER(name, number) || PyModule_AddIntConstant(module, #name, number)
    return 0 NUMBERS(AS_INTEGER) TEXTS(AS_STRING) OWN_ERRORS(AS_OWN_INTEGER);
}

static int fill_module(PyObject *module) {
    if (core_add_type(module, &blast_type) || core_add_type(module, &serve_type) ||
        core_add_type(module, &prober_type) || core_add_type(module, &answers_type))
        return -1;
    if (blast_add_names(module) || serve_add_names(module) || settings_add_names(module) || wires_add_names(module))
        return -1;
    return add_lists(module) || add_values(module) ? -1 : 0;
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

static PyObject *take_header(PyObject *self, PyObject *args) {
    (void)self;
    const char *data;
    Py_ssize_t length, piece;
    struct header header = {0};
    enum header_state state = HEADER_part;
    size_t used = 0;
    if (!PyArg_ParseTuple(args, "y#n:take_header", &data, &length, &piece)) return NULL;
    if (piece < 1) return refuse(PyExc_ValueError, "a piece has a byte"), NULL;
    while (used < (size_t)length && state == HEADER_part) {
        size_t some = 0, left = (size_t)length - used;
        state = header_take(&header, (const unsigned char *)data + used, left < (size_t)piece ? left : (size_t)piece,
                            &some);
        used += some;
    }
    return Py_BuildValue("iniO", state, (Py_ssize_t)used, header.version, header.is_known ? Py_True : Py_False);
}

static PyMethodDef module_methods[] = {
    {"take_header", take_header, METH_VARARGS,
     "Takes a PROXY header off data, in pieces of so many bytes: 0 it is not whole, 1 it is, 2 it is none; how many "
     "bytes, its version, and whether it names addresses of TCP."},
    {"connection_number", connection_number, METH_VARARGS,
     "What both ends of a connection on one machine know: of its key, a file descriptor, whether it was accepted "
     "there, a number."},
    {"try_script", try_script, METH_VARARGS,
     "Of a script, at (a position, so many bytes, a connection) with (fresh values, and the step of the first): the "
     "bytes, the length of the message there, how many are before it, where the connection begins, and whether a reply "
     "matches."},
    {"take_replies", take_replies, METH_VARARGS,
     "Takes bytes by a rule, with a connection's progress: the progress behind them, how many replies they end, and "
     "what is wrong (0: nothing)."},
    {"judge_reply", judge_reply, METH_VARARGS, "Whether a reply, in pieces, says what a rule asks of it."},
    {"random_times", random_times, METH_VARARGS,
     "Random arrivals from a beginning to an end (ns), at a rate and its change, of a seed, of worker index of so "
     "many: "
     "the first so many times, and how many are left up to a cut."},
    {"draw_values", draw_values, METH_VARARGS,
     "Values of a distribution, as pauses are given: at the shares from one number of its seed on, so many."},
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
