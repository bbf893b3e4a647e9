/* Standstills of a worker: waits and turns that took more than STANDSTILL_NS longer than asked.
 *
 * Whatever stops a process does it: a signal, the debugger, a control group's quota, another process on the core, the
 * host of a virtual machine. While it stands still nothing is sent and nothing is read, and what the target did
 * meanwhile cannot be told from its latencies.
 */
#ifndef LOADKIT_STANDSTILLS_H
#define LOADKIT_STANDSTILLS_H

#include "board.h"

#define STANDSTILL_NS INT64_C(10000000)
enum { REMEMBERED = 64 };

struct standstill {
    int64_t from, until;
};

struct standstills {
    int64_t until; /* of the last one; 0: there was none */
    uint64_t count;
    struct standstill last[REMEMBERED];
};

static inline void standstills_note(struct standstills *standstills, int64_t from, int64_t until) {
    standstills->last[standstills->count++ % REMEMBERED] = (struct standstill){from, until};
    standstills->until = until;
}

/* How much of the time since `from` the worker stood still. Only the last REMEMBERED standstills are known. */
static inline int64_t standstills_since(const struct standstills *standstills, int64_t from) {
    int64_t sum = 0;
    uint64_t least = standstills->count > REMEMBERED ? standstills->count - REMEMBERED : 0;
    for (uint64_t i = standstills->count; i > least; i--) {
        const struct standstill *one = &standstills->last[(i - 1) % REMEMBERED];
        if (one->until <= from) break;
        sum += one->until - (one->from > from ? one->from : from);
    }
    return sum;
}

#endif
