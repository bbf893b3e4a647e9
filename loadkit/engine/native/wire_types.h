/* Rules as Python has them. */
#ifndef LOADKIT_WIRE_TYPES_H
#define LOADKIT_WIRE_TYPES_H

#include "types.h"
#include "wire.h"

/* Reads a rule; -1 with a Python error for one that no reply can keep to. */
int read_rule(struct rule *rule, PyObject *values);
int wires_add_names(PyObject *module);
/* The framing of a rule alone, without a connection: for tests. */
PyObject *take_replies(PyObject *self, PyObject *args);
/* The same of its judge. */
PyObject *judge_reply(PyObject *self, PyObject *args);

#endif
