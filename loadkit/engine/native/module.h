/* What the types of the module share. */
#ifndef LOADKIT_MODULE_H
#define LOADKIT_MODULE_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include "probes.h"

void *allocate(PyTypeObject *type);
void release(PyObject *self);
PyObject *closed_error(void);
/* Says what is wrong and returns -1, for bad arguments. */
int refuse(PyObject *error, const char *text);

/* For PyArg_ParseTuple's O&, into a struct key: the bytes of a machine's key. */
int read_key(PyObject *object, void *key);
/* Opens a prober with what Python says of it: (size, period in ns, the machine's key, ((file descriptor, kind of peer), …)), or (): none. Takes the
 * file descriptors over, unless it fails: -1, with a Python error or errno. */
int open_prober(struct prober *prober, struct board *board, PyObject *probes);

/* Probes and answers for a loop that is not ours: probe_types.c. */
extern PyType_Spec prober_spec, answers_spec;

#endif
