/* When a worker looked at its schedule: the gaps between two looks that were longer than a millisecond, the latest of
 * them.
 *
 * A message that had to wait for room was late because of the worker until the worker first looked at the schedule at
 * or after it was due, and because of the target from then on. That moment is not kept per message: outside the gaps it
 * is the moment it was due.
 */
#ifndef LOADKIT_LOOKS_H
#define LOADKIT_LOOKS_H

#include "board.h"

#define GAP_NS INT64_C(1000000)
enum { GAPS = 1024 };

struct gap {
    int64_t from, to;
};

struct looks {
    int64_t last_ns;
    uint64_t count; /* gaps so far; the last GAPS of them are there */
    struct gap *gaps; /* of GAPS; memory is touched as far as used */
};

static inline void looks_note(struct looks *looks, int64_t now) {
    if (now - looks->last_ns > GAP_NS) looks->gaps[looks->count++ % GAPS] = (struct gap){looks->last_ns, now};
    looks->last_ns = now;
}

/* When we first looked at or after that time. */
static inline int64_t looks_after(const struct looks *looks, int64_t at) {
    uint64_t low = looks->count > GAPS ? looks->count - GAPS : 0, high = looks->count;
    /* The first gap that ends at or after it: they are in order. */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (looks->gaps[middle % GAPS].to < at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == looks->count || looks->gaps[low % GAPS].from >= at) return at;
    return looks->gaps[low % GAPS].to;
}

#endif
