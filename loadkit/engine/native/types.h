/* What the types of the module are made of: each is a worker's core around an epoll fd, opened when it is made and
 * closed once.
 *
 * Such an object begins with a struct core. A method takes it with core_of, which fails once it is closed.
 */
#ifndef LOADKIT_TYPES_H
#define LOADKIT_TYPES_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>

#include "rows.h"

struct core_type {
    const char *name; /* with the module's */
    const char *doc;
    size_t size;     /* of the object */
    size_t epoll_fd; /* where it stands in the object */
    newfunc make;    /* core_make with this type */
    /* Fills what is all 0, but for an epoll fd of -1; -1 with a Python error. What is opened halfway is closed. */
    int (*open)(PyObject *self, PyObject *args, PyObject *kwargs);
    void (*close)(PyObject *self); /* all but the words */
    PyMethodDef *methods;
};

struct core {
    PyObject_HEAD
    const struct core_type *type;
    Py_buffer words; /* of the board's slot */
    bool is_open;
};

/* Defines <kind>_type, which makes a struct <kind>_object by open_<kind>: makers differ by nothing but the type that
 * they are of. `fd` is the member that has the epoll fd. */
#define CORE_TYPE(kind, Name, text, fd)                                                  \
    static PyObject *make_##kind(PyTypeObject *type, PyObject *args, PyObject *kwargs) { \
        return core_make(type, args, kwargs, &kind##_type);                              \
    }                                                                                    \
    const struct core_type kind##_type = {                                               \
        .name = "loadkit.engine.native._core." #Name,                                    \
        .doc = text,                                                                     \
        .size = sizeof(struct kind##_object),                                            \
        .epoll_fd = offsetof(struct kind##_object, fd),                                  \
        .make = make_##kind,                                                             \
        .open = open_##kind,                                                             \
        .close = close_##kind,                                                           \
        .methods = kind##_methods,                                                       \
    }

int core_add_type(PyObject *module, const struct core_type *type);
PyObject *core_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, const struct core_type *core_type);
/* Returns the object; NULL, with a Python error, if it is closed. */
void *core_of(PyObject *self);
/* Methods that all have. */
PyObject *core_fileno(PyObject *self, PyObject *unused);
PyObject *core_close(PyObject *self, PyObject *unused);

/* rows.c. Reads a dict into the fields that a table describes; -1, with a Python error, for what is missing, unknown or
 * out of bounds. */
int rows_read(PyObject *values, const struct row *rows, void *holder);
/* Exports the names of a table. */
int rows_add_names(PyObject *module, const char *key, const struct row *rows);

/* Says what is wrong and returns -1, for bad arguments. */
int refuse(PyObject *error, const char *text);

#endif
