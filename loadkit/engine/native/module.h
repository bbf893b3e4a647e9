/* What the types of the module share. */
#ifndef LOADKIT_MODULE_H
#define LOADKIT_MODULE_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include "probes.h"
#include "rows.h"

void *allocate(PyTypeObject *type);
void release(PyObject *self);
PyObject *closed_error(void);
/* Says what is wrong and returns -1, for bad arguments. */
int refuse(PyObject *error, const char *text);

/* rows.c. Reads a dict into the fields that a table describes; -1, with a Python error, for what is missing, unknown or out of
 * bounds. */
int rows_read(PyObject *values, const struct row *rows, void *holder);
/* Exports the names of a table. */
int rows_add_names(PyObject *module, const char *key, const struct row *rows);

/* For PyArg_ParseTuple's O&, into a struct key: the bytes of a machine's key. */
int read_key(PyObject *object, void *key);
/* Opens a prober with what Python says of it: (size, period in ns, the machine's key, ((file descriptor, kind of peer), …)), or (): none. Takes the
 * file descriptors over, unless it fails: -1, with a Python error or errno. */
int open_prober(struct prober *prober, struct board *board, PyObject *probes);

/* Probes and answers for a loop that is not ours: probe_types.c. */
extern PyType_Spec prober_spec, answers_spec;

#endif
