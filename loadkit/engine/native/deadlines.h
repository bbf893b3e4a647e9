/* Deadlines of slots: a binary heap of (time, slot), lazily kept.
 *
 * A slot has at most one entry that counts, the one whose time its owner remembers; whoever needs an earlier one pushes
 * it, and the former is dropped when its time comes. So a message costs nothing here: a connection's reply time-out is
 * looked at when the entry falls due, and pushed again for what is then its oldest message.
 */
#ifndef LOADKIT_DEADLINES_H
#define LOADKIT_DEADLINES_H

#include <stddef.h>

#include "board.h"

struct deadline {
    int64_t at_ns;
    uint32_t slot;
};

struct deadlines {
    struct deadline *heap;
    size_t count, capacity;
};

/* -1 for want of memory. */
int deadlines_push(struct deadlines *deadlines, int64_t at, uint32_t slot);
/* When the first one is; NEVER when there is none. */
static inline int64_t deadlines_first(const struct deadlines *deadlines) {
    return deadlines->count ? deadlines->heap[0].at_ns : NEVER;
}
/* Takes the first one out; there has to be one. */
struct deadline deadlines_pop(struct deadlines *deadlines);
/* Keeps the first `count` entries of the heap, as whoever looked through it has left them, in whatever order. */
void deadlines_keep(struct deadlines *deadlines, size_t count);
void deadlines_close(struct deadlines *deadlines);

#endif
