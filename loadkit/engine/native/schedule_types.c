/* Times of random arrivals and values of distributions: for the core, and for Python to compare them with its own. */
#include "schedule_types.h"

#include "chance.h"
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

static int read_points(struct drawing *drawing, const char *shares, Py_ssize_t size, const char *values,
                       Py_ssize_t values_size) {
    if (size < (Py_ssize_t)(2 * sizeof(double)) || size % (Py_ssize_t)sizeof(double) || values_size != size)
        return refuse(PyExc_ValueError, "a distribution has two points or more, of two doubles");
    if (!drawing_open(drawing, shares, values, (size_t)size / sizeof(double))) return 0;
    return PyErr_NoMemory(), -1;
}

int read_pauses(struct pauses *pauses, PyObject *values) {
    if (!PyTuple_Size(values)) return 0;
    const char *shares, *lengths;
    Py_ssize_t shares_size, lengths_size;
    long long least, most;
    unsigned long long seed;
    if (!PyArg_ParseTuple(values, "y#y#LLK;pauses", &shares, &shares_size, &lengths, &lengths_size, &least, &most,
                          &seed))
        return -1;
    pauses->drawing.least = least;
    pauses->drawing.most = most;
    pauses->seed = seed;
    return read_points(&pauses->drawing, shares, shares_size, lengths, lengths_size);
}

PyObject *draw_values(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *values;
    long long number, count;
    int is_under_way;
    struct pauses pauses = {0};
    if (!PyArg_ParseTuple(args, "O!LLp:draw_values", &PyTuple_Type, &values, &number, &count, &is_under_way))
        return NULL;
    if (read_pauses(&pauses, values)) return NULL;
    PyObject *drawn = PyList_New(0);
    for (; drawn && pauses_are_asked(&pauses) && count; count--) {
        double share = chance_share(pauses.seed, (uint64_t)number++);
        int64_t value = is_under_way ? drawing_under_way(&pauses.drawing, share) : drawing_at(&pauses.drawing, share);
        PyObject *object = PyLong_FromLongLong(value);
        if (!object || PyList_Append(drawn, object)) Py_CLEAR(drawn);
        Py_XDECREF(object);
    }
    drawing_close(&pauses.drawing);
    return drawn;
}
