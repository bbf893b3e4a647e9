/* The Python side of the compiled engine: its types, the names that Python compares with its own, and two functions.
 *
 * Blast and Serve are each a worker's core around one epoll fd. A turn runs without the GIL. All the methods have to be
 * called from one thread, the event loop's; a Blast or a Serve is used for one run and closed.
 */
#include "end_types.h"

#include "blast.h"
#include "probe_types.h"
#include "serve.h"
#include "zeros.h"

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
    if (blast_add_names(module) || serve_add_names(module) || settings_add_names(module)) return -1;
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
