#include "script_types.h"

void release_script(struct script_buffers *buffers) {
    Py_buffer *all[] = {&buffers->content, &buffers->ends, &buffers->patches};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->obj) PyBuffer_Release(all[i]);
}

/* Whether positions grow from one to the next, from `before` on. */
static bool is_growing(const int64_t *positions, size_t count, int64_t before) {
    for (size_t i = 0; i < count; before = positions[i++])
        if (positions[i] <= before) return false;
    return true;
}

static int check_patches(const struct script *script) {
    int64_t before = 0;
    if (script->patch_count && script->period % script->ends[script->count - 1])
        return refuse(PyExc_ValueError, "what has patches is made of whole messages");
    for (size_t i = 0; i < script->patch_count; i++) {
        int64_t begin = script->patches[i] >> PATCH_SHIFT, digits = script->patches[i] >> PATCH_DIGITS_SHIFT & 0xff;
        if (begin < before || digits < 1 || digits > MOST_DIGITS || begin + digits > script->period ||
            (script->patches[i] & 0xff) >= FRESH_COUNT)
            return refuse(PyExc_ValueError, "a patch is behind the one before, and within the content");
        before = begin + digits;
    }
    return 0;
}

int read_script(struct script *script, struct script_buffers *buffers, PyObject *values) {
    long long period;
    if (!PyArg_ParseTuple(values, "y*Ly*y*II;a script", &buffers->content, &period, &buffers->ends, &buffers->patches,
                          &script->block, &script->starts))
        return -1;
    script->bytes = buffers->content.buf;
    script->length = (size_t)buffers->content.len;
    script->period = period;
    script->ends = buffers->ends.buf;
    script->patches = buffers->patches.buf;
    script->patch_count = (size_t)buffers->patches.len / sizeof *script->patches;
    size_t count = (size_t)buffers->ends.len / sizeof *script->ends;
    if (period < 1 || period > buffers->content.len || count < 1 || count > UINT32_MAX || !script->block ||
        !script->starts)
        return refuse(PyExc_ValueError, "a script has content, and a message");
    script->count = (uint32_t)count;
    if (!is_growing(script->ends, count, 0)) return refuse(PyExc_ValueError, "a message ends behind the one before");
    return check_patches(script) || script_open(script) ? -1 : 0;
}

PyObject *try_script(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *values, *bytes = NULL;
    long long position, wanted, conn;
    struct fresh fresh;
    const char *reply;
    Py_ssize_t length;
    struct script_buffers buffers = {0};
    struct script opened = {0}, *script = &opened;
    if (!PyArg_ParseTuple(args, "O(LLL)(LLLLL)y#:try_script", &values, &position, &wanted, &conn, &fresh.values[0],
                          &fresh.values[1], &fresh.values[2], &fresh.values[3], &fresh.step, &reply, &length))
        return NULL;
    if (!read_script(script, &buffers, values)) bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)wanted);
    PyObject *found = NULL;
    if (bytes) {
        script_write(script, position, wanted, &fresh, (unsigned char *)PyBytes_AsString(bytes), (size_t)wanted);
        found = Py_BuildValue(
            "OLLLi", bytes, (long long)script_length(script, position), (long long)script_count(script, position),
            (long long)script_origin(script, (uint64_t)conn),
            script_matches_but_for_patches(script, position, (const unsigned char *)reply, (size_t)length));
        Py_DECREF(bytes);
    }
    script_close(script);
    release_script(&buffers);
    return found;
}
