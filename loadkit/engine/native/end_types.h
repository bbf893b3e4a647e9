/* Blast and Serve, a worker of either end as Python has it, and what both are told. */
#ifndef LOADKIT_END_TYPES_H
#define LOADKIT_END_TYPES_H

#include "settings.h"
#include "types.h"

extern const struct core_type blast_type, serve_type;
/* Export the names of the tables that each is told by; -1 with a Python error. */
int blast_add_names(PyObject *module);
int serve_add_names(PyObject *module);
int settings_add_names(PyObject *module);

/* How many slots there are: as many as the soft limit of file descriptors allows, `most` at the most. */
uint32_t slot_limit(uint64_t most);
/* Reads a tuple of socket options; -1 with a Python error. */
int read_settings(struct settings *settings, PyObject *rows);

#endif
