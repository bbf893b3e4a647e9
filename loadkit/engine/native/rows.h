/* What Python tells the core by name. A table has a row X(type, name, least, most) for each value, and everything
 * follows from it: the field of a struct (AS_FIELD), how the value is read and between which bounds (ROWS, rows.c), and
 * the names that are exported and compared with Python's (rows.py) when the engine is loaded. A new option is a row
 * here, and its use.
 */
#ifndef LOADKIT_ROWS_H
#define LOADKIT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Times from now may be added to the clock without overflow: 36 years. */
#define LONGEST_NS (INT64_C(1) << 60)

/* The types of a row. An address is a text without a port, or unix:PATH; with a `least` of 0 it may be None, of family
 * AF_UNSPEC. A value is bytes, as many as it has room for at most. */
typedef int64_t row_integer;
typedef uint32_t row_count;
typedef bool row_flag;
typedef double row_real;
typedef struct sockaddr_storage row_address;
typedef struct {
    uint32_t length;
    unsigned char bytes[64];
} row_value;
enum row_type { ROW_integer, ROW_count, ROW_flag, ROW_real, ROW_address, ROW_value };

struct row {
    const char *name; /* NULL ends a table */
    enum row_type type;
    size_t offset;
    int64_t least, most;
};

#define AS_FIELD(type, name, least, most) row_##type name;
/* To be used where HOLDER is the struct with the fields: static const struct row rows[] = ROWS(BLAST_OPTIONS); */
#define AS_ROW(type, name, least, most) {#name, ROW_##type, offsetof(HOLDER, name), least, most},
#define ROWS(table) {table(AS_ROW){0}}

#endif
