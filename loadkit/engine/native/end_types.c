#include "end_types.h"

#include <sys/resource.h>

#define HOLDER struct setting
static const struct row setting_rows[] = ROWS(SETTING_ROWS);
#undef HOLDER

uint32_t slot_limit(uint64_t most) {
    struct rlimit limit;
    uint64_t files = getrlimit(RLIMIT_NOFILE, &limit) ? 1024 : limit.rlim_cur;
    if (files > most) files = most;
    return files < UINT32_MAX - 1 ? (uint32_t)files : UINT32_MAX - 1;
}

int read_settings(struct settings *settings, PyObject *rows) {
    Py_ssize_t count = PyTuple_Size(rows);
    if (count > MOST_SETTINGS) return refuse(PyExc_ValueError, "there are more settings than a slot has room for");
    settings->count = (uint32_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (rows_read(PyTuple_GetItem(rows, i), setting_rows, &settings->rows[i])) return -1;
        settings->are_given |= settings->rows[i].value.length > 0;
    }
    return 0;
}

int settings_add_names(PyObject *module) { return rows_add_names(module, "SETTING_ROWS", setting_rows); }
