#include "types.h"

static int *epoll_fd_of(PyObject *self, const struct core_type *type) { return (int *)((char *)self + type->epoll_fd); }

PyObject *core_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, const struct core_type *core_type) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *self = allocate(type, 0);
    if (!self) return NULL;
    struct core *core = (struct core *)self;
    *epoll_fd_of(self, core_type) = -1;
    core->type = core_type;
    core->is_open = true;
    if (core_type->open(self, args, kwargs)) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

PyObject *core_close(PyObject *self, PyObject *unused) {
    (void)unused;
    struct core *core = (struct core *)self;
    if (core->is_open) {
        core->is_open = false;
        core->type->close(self);
        if (core->words.obj) PyBuffer_Release(&core->words);
    }
    Py_RETURN_NONE;
}

static void core_free(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_DECREF(core_close(self, NULL));
    free_object(self);
    Py_DECREF(type);
}

void *core_of(PyObject *self) {
    if (((struct core *)self)->is_open) return self;
    PyErr_SetString(PyExc_ValueError, "the engine's core is closed");
    return NULL;
}

PyObject *core_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    struct core *core = core_of(self);
    return core ? PyLong_FromLong(*epoll_fd_of(self, core->type)) : NULL;
}

int core_add_type(PyObject *module, const struct core_type *core_type) {
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)core_type->doc},
        {Py_tp_new, core_type->make},
        {Py_tp_dealloc, core_free},
        {Py_tp_methods, core_type->methods},
        {0, NULL},
    };
    PyType_Spec spec = {core_type->name, (int)core_type->size, 0, Py_TPFLAGS_DEFAULT, slots};
    PyObject *type = PyType_FromSpec(&spec);
    if (!type) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

int refuse(PyObject *error, const char *text) {
    PyErr_SetString(error, text);
    return -1;
}
