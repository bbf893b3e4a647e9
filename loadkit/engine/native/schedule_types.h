/* What Python asks of schedules: schedule_types.c. */
#ifndef LOADKIT_SCHEDULE_TYPES_H
#define LOADKIT_SCHEDULE_TYPES_H

#include "types.h"

/* Random arrivals from a beginning to an end (ns), at a rate and its change, of a seed, of worker `index` of `of`: the
 * first so many times, and how many are left up to a cut. */
PyObject *random_times(PyObject *self, PyObject *args);

#endif
