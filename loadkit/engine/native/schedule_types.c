/* The times of random arrivals for Python, which compares them with its own (plan/arrivals.py). */
#include "schedule_types.h"

#include "schedule.h"

static PyObject *times_of(struct schedule *schedule, long long most) {
    PyObject *times = PyList_New(0);
    for (; times && most && schedule->next_ns != NEVER; most--, schedule_advance(schedule)) {
        PyObject *time = PyLong_FromLongLong(schedule->next_ns);
        if (!time || PyList_Append(times, time)) Py_CLEAR(times);
        Py_XDECREF(time);
    }
    return times;
}

PyObject *random_times(PyObject *self, PyObject *args) {
    (void)self;
    long long begin, until, index, of, most, cut;
    unsigned long long seed;
    double hz, change;
    if (!PyArg_ParseTuple(args, "LLddKLLLL:random_times", &begin, &until, &hz, &change, &seed, &index, &of, &most,
                          &cut))
        return NULL;
    struct arrivals arrivals;
    struct schedule schedule;
    if (schedule_open(&schedule, 1)) return PyErr_NoMemory();
    arrivals_begin(&arrivals, seed, index, of);
    schedule_append(&schedule, pace_at_random(&arrivals, begin, until, hz, change));
    PyObject *times = times_of(&schedule, most);
    schedule_cut(&schedule, cut);
    PyObject *found = times ? Py_BuildValue("NL", times, (long long)schedule_left(&schedule)) : NULL;
    schedule_close(&schedule);
    return found;
}
