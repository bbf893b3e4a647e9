/* Scripts as Python has them. */
#ifndef LOADKIT_SCRIPT_TYPES_H
#define LOADKIT_SCRIPT_TYPES_H

#include "types.h"

#include "script.h"

/* What a script is used from, as long as it is. */
struct script_buffers {
    Py_buffer content, ends, patches;
};

/* Reads the content, which of it is a period, the ends of the messages of a cycle, the patches, and where connections
 * begin: native/rows.py. -1 with a Python error for what can be no script. */
int read_script(struct script *script, struct script_buffers *buffers, PyObject *values);
void release_script(struct script_buffers *buffers);
/* What a script says, without a connection: for tests. */
PyObject *try_script(PyObject *module, PyObject *args);

#endif
