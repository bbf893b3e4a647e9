/* What Python asks of schedules: schedule_types.c. */
#ifndef LOADKIT_SCHEDULE_TYPES_H
#define LOADKIT_SCHEDULE_TYPES_H

#include "pauses.h"
#include "types.h"

/* Random arrivals from a beginning to an end (ns), at a rate and its change, of a seed, of worker `index` of `of`: the
 * first so many times, and how many are left up to a cut. */
PyObject *random_times(PyObject *self, PyObject *args);
/* Values of a distribution: of its points, the least and the most; those at the shares from one number of a seed on, so
 * many of them; or those under way. The first argument is as that of read_pauses. */
PyObject *draw_values(PyObject *self, PyObject *args);
/* Reads what the pauses of a closed loop follow from; () for one that does not think. -1 with a Python error. */
int read_pauses(struct pauses *pauses, PyObject *values);

#endif
