/* Values by name, from Python to the fields of a struct: rows.h. */
#include "rows.h"

#include <netdb.h>
#include <string.h>
#include <sys/un.h>

#include "types.h"

/* unix:PATH, or unix:@NAME in the abstract namespace: unix(7). endpoint.py has the same. */
static bool read_unix(const char *text, struct sockaddr_un *address) {
    size_t length = strlen(text), least = *text == '@' ? 2 : 1, most = sizeof address->sun_path - (*text != '@');
    if (length < least || length > most) return false;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, text, length);
    if (*text == '@') address->sun_path[0] = 0;
    return true;
}

/* getaddrinfo and not inet_pton: it knows the zone of a link-local address (fe80::1%eth0). */
static bool read_ip(const char *text, struct sockaddr_storage *address) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(text, NULL, &hints, &found)) return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static int read_address(PyObject *value, const struct row *row, struct sockaddr_storage *address) {
    memset(address, 0, sizeof *address);
    if (value == Py_None && !row->least) return 0;
    PyObject *bytes = PyUnicode_Check(value) ? PyUnicode_AsUTF8String(value) : NULL;
    const char *text = bytes ? PyBytes_AsString(bytes) : NULL;
    bool is_unix = text && !strncmp(text, "unix:", 5);
    bool is_known = is_unix ? read_unix(text + 5, (struct sockaddr_un *)address) : text && read_ip(text, address);
    Py_XDECREF(bytes);
    if (is_known) return 0;
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "%s: %R is neither an IP address nor unix:PATH", row->name, value);
    return -1;
}

static int read_real(PyObject *value, const struct row *row, double *number) {
    *number = PyFloat_AsDouble(value);
    if (PyErr_Occurred()) return -1;
    if (*number >= (double)row->least && *number <= (double)row->most) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %R is not from %lld to %lld", row->name, value, (long long)row->least,
                 (long long)row->most);
    return -1;
}

static int read_integer(PyObject *value, const struct row *row, int64_t *number) {
    *number = row->type == ROW_flag ? PyObject_IsTrue(value) : PyLong_AsLongLong(value);
    if (PyErr_Occurred()) return -1;
    if (*number >= row->least && *number <= row->most) return 0;
    PyErr_Format(PyExc_ValueError, "%s: %lld is not from %lld to %lld", row->name, (long long)*number,
                 (long long)row->least, (long long)row->most);
    return -1;
}

static int read_value(PyObject *object, const struct row *row, row_value *value) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &bytes, &length)) return -1;
    if ((size_t)length > sizeof value->bytes) {
        PyErr_Format(PyExc_ValueError, "%s: more than %zu bytes", row->name, sizeof value->bytes);
        return -1;
    }
    memcpy(value->bytes, bytes, (size_t)length);
    value->length = (uint32_t)length;
    return 0;
}

static int read_row(PyObject *value, const struct row *row, char *into) {
    int64_t number;
    if (row->type == ROW_address) return read_address(value, row, (struct sockaddr_storage *)into);
    if (row->type == ROW_real) return read_real(value, row, (double *)into);
    if (row->type == ROW_value) return read_value(value, row, (row_value *)into);
    if (read_integer(value, row, &number)) return -1;
    if (row->type == ROW_integer) *(int64_t *)into = number;
    if (row->type == ROW_count) *(uint32_t *)into = (uint32_t)number;
    if (row->type == ROW_flag) *(bool *)into = number;
    return 0;
}

static Py_ssize_t count_rows(const struct row *rows) {
    Py_ssize_t count = 0;
    while (rows[count].name) count++;
    return count;
}

int rows_read(PyObject *values, const struct row *rows, void *holder) {
    if (!PyDict_Check(values)) return refuse(PyExc_TypeError, "rows are dicts");
    for (const struct row *row = rows; row->name; row++) {
        PyObject *name = PyUnicode_FromString(row->name);
        if (!name) return -1;
        PyObject *value = PyDict_GetItemWithError(values, name); /* borrowed */
        Py_DECREF(name);
        if (!value) {
            if (!PyErr_Occurred()) PyErr_Format(PyExc_TypeError, "%s: it is missing", row->name);
            return -1;
        }
        if (read_row(value, row, (char *)holder + row->offset)) return -1;
    }
    if (PyDict_Size(values) == count_rows(rows)) return 0;
    PyErr_Format(PyExc_TypeError, "there are values that no row has: %R", values);
    return -1;
}

int rows_add_names(PyObject *module, const char *key, const struct row *rows) {
    PyObject *names = PyTuple_New(count_rows(rows));
    if (!names) return -1;
    for (Py_ssize_t i = 0; rows[i].name; i++) {
        PyObject *name = PyUnicode_FromString(rows[i].name);
        if (!name || PyTuple_SetItem(names, i, name)) {
            Py_DECREF(names);
            return -1;
        }
    }
    int failed = PyModule_AddObjectRef(module, key, names);
    Py_DECREF(names);
    return failed;
}
