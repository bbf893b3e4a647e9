#include "wire_types.h"

#define HOLDER struct rule
static const struct row rule_rows[] = ROWS(RULE_ROWS);
#undef HOLDER

int read_rule(struct rule *rule, PyObject *values) {
    *rule = (struct rule){0};
    if (rows_read(values, rule_rows, rule)) return -1;
    if (rule->wire == WIRE_fixed && !rule->length) return refuse(PyExc_ValueError, "a reply has a length");
    if (rule->wire == WIRE_delimited && !rule->delimiter.length)
        return refuse(PyExc_ValueError, "a delimiter has a byte");
    if (rule->delimiter.length > 16) return refuse(PyExc_ValueError, "a delimiter has 16 bytes at most");
    if (!rule->content.length && (rule->judge == JUDGE_starts || rule->judge == JUDGE_contains))
        return refuse(PyExc_ValueError, "there is nothing to look for in a reply");
    if (rule->until.length > 1) return refuse(PyExc_ValueError, "the last part is told by one byte");
    rule_prepare(rule);
    return 0;
}

int wires_add_names(PyObject *module) { return rows_add_names(module, "RULE_ROWS", rule_rows); }

PyObject *take_replies(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *values;
    struct rule rule;
    unsigned long long first, second;
    const char *chunk;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "O(KK)y#:take_replies", &values, &first, &second, &chunk, &length) ||
        read_rule(&rule, values))
        return NULL;
    if (rule.wire == WIRE_echo) return refuse(PyExc_ValueError, "an echo follows from its script"), NULL;
    struct progress progress = {{first, second}, 0};
    struct taken taken = {0};
    long replies = 0;
    for (size_t at = 0; at < (size_t)length && !taken.wrong; at += taken.length, replies += taken.is_whole)
        taken = rule_take(&rule, &progress, (const unsigned char *)chunk + at, (size_t)length - at);
    return Py_BuildValue("(KK)li", progress.words[0], progress.words[1], replies, taken.wrong);
}

PyObject *judge_reply(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *values, *pieces;
    struct rule rule;
    uint64_t judged = 0;
    if (!PyArg_ParseTuple(args, "OO!:judge_reply", &values, &PyTuple_Type, &pieces) || read_rule(&rule, values))
        return NULL;
    if (!rule.judge) return refuse(PyExc_ValueError, "nothing is asked of a reply"), NULL;
    for (Py_ssize_t i = 0; i < PyTuple_Size(pieces); i++) {
        char *bytes;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(pieces, i), &bytes, &length)) return NULL;
        judged = judge_take(&rule, judged, (const unsigned char *)bytes, (size_t)length);
    }
    return PyBool_FromLong(judge_is_right(&rule, judged));
}
