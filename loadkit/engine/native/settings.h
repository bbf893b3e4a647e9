/* Socket options that were asked for, set on each socket, and what the kernel says of them on the first connection:
 * engine/settings.py. Which ones there are is Python's to know: a row has the family (0: every one), setsockopt's level
 * and number, and the value; none: it is only read back. */
#ifndef LOADKIT_SETTINGS_H
#define LOADKIT_SETTINGS_H

#include "board.h"
#include "rows.h"

#define SETTING_ROWS(X)                                                                                                \
    X(integer, family, 0, UINT16_MAX) X(integer, level, 0, INT32_MAX) X(integer, number, 0, INT32_MAX) \
    X(value, value, 0, 0)
struct setting {
    SETTING_ROWS(AS_FIELD)
};

struct settings {
    uint32_t count;
    bool are_given, are_noted;
    struct setting rows[MOST_SETTINGS];
};

/* -1 with errno if the kernel refuses one. */
int settings_apply(const struct settings *settings, int fd);
/* Writes to the state of a slot what the kernel says of a connection, once. */
void settings_note(struct settings *settings, int fd, int64_t *state);

#endif
