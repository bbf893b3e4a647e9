/* Deadlines of slots: a binary heap of (time, slot), lazily kept.
 *
 * A slot has at most one entry that counts: the one whose time its owner remembers. If an earlier one is needed, it is
 * pushed, and the former is dropped when its time comes. So a message costs nothing here: a connection's reply time-out
 * is checked when the entry falls due, and pushed again for the message that is the oldest then.
 */
#ifndef LOADKIT_DEADLINES_H
#define LOADKIT_DEADLINES_H

#include <stddef.h>

#include "board.h"

struct deadline {
    int64_t at_ns;
    uint32_t slot, generation; /* the second: of the slot, where that says whether the entry counts (pauses.h) */
};

struct deadlines {
    struct deadline *heap;
    size_t count, capacity;
};

/* Returns -1 if there is no memory. */
int deadlines_push(struct deadlines *deadlines, struct deadline entry);
/* When the first one is; NEVER when there is none. */
static inline int64_t deadlines_first(const struct deadlines *deadlines) {
    return deadlines->count ? deadlines->heap[0].at_ns : NEVER;
}
/* Takes the first one out; there has to be one. */
struct deadline deadlines_pop(struct deadlines *deadlines);
/* Keeps the first `count` entries of the heap, which may be in any order. */
void deadlines_keep(struct deadlines *deadlines, size_t count);
void deadlines_close(struct deadlines *deadlines);

#endif
