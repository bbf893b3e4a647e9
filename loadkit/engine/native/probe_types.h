/* Probes and answers for a loop that is not ours, and what Python says of probes and of keys. */
#ifndef LOADKIT_PROBE_TYPES_H
#define LOADKIT_PROBE_TYPES_H

#include "types.h"

#include "probes.h"

/* For PyArg_ParseTuple's O&, into a struct key: the bytes of a machine's key. */
int read_key(PyObject *object, void *key);
/* Opens a prober with what Python says of it: (size, period in ns, the machine's key, ((file descriptor, kind of peer),
 * …)), or (): none. Takes the file descriptors over, unless it fails: -1, with a Python error or errno. */
int read_probes(struct prober *prober, struct board *board, PyObject *probes);

extern const struct core_type prober_type, answers_type;

#endif
