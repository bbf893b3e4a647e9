/* When connects and messages are due: plan/pacing.py's formula, one event at a time.
 *
 * A pace changes linearly from a to b hertz over T seconds; event k is due after
 *
 *     2 k / (a + sqrt(a^2 + 2 k (b - a) / T))
 *
 * Worker i of n takes k = i, i + n, ...; of the ramp it takes its turn in a lane (plan/pacing.py: Turn). Random events
 * are not at whole k, but where arrivals.h has them. A schedule is a queue of paces: what is left of one comes before
 * the next.
 */
#ifndef LOADKIT_SCHEDULE_H
#define LOADKIT_SCHEDULE_H

#include "arrivals.h"
#include "board.h"

struct pace {
    int64_t begin_ns;
    double start_hz, change_hz_per_s; /* the second is 0 for a constant rate */
    int64_t next, step, total;        /* the events next, next + step, ... below total are still to come */
    int64_t group, taken, jump; /* after each `group` events (0: never), `taken` by now, the next is `jump` further */
    struct arrivals *arrivals;  /* random events; NULL: even ones */
    int64_t until_ns;           /* random ones are not due after it */
};

/* `count` events of lane `lane` of `lanes`, from its event `place` on, where `of` workers are in all the lanes. */
struct turn {
    int64_t place, count, lane, lanes, of;
};

struct schedule {
    struct pace *paces;
    int count, first;
    int64_t next_ns; /* when the next event is due; NEVER when there is none */
};

/* Room for so many paces; -1 for want of memory. */
int schedule_open(struct schedule *schedule, int capacity);
void schedule_close(struct schedule *schedule);
/* Appends a pace; there has to be room. */
void schedule_append(struct schedule *schedule, struct pace pace);
/* A turn's events at a constant rate; event k of all lanes is due k intervals after the beginning. */
struct pace pace_of_turn(struct turn turn, int64_t begin_ns, double hz);
/* A pace with random events: those of the arrivals, which nothing else uses meanwhile, from `begin_ns` to `until_ns`.
 */
struct pace pace_at_random(struct arrivals *arrivals, int64_t begin_ns, int64_t until_ns, double hz, double change);
/* Keeps no more than the next `most` of its events. */
void pace_limit(struct pace *pace, int64_t most);
/* Moves on to the event after this one. */
void schedule_advance(struct schedule *schedule);
/* Drops everything. */
void schedule_clear(struct schedule *schedule);
/* Drops what is due after `until`. */
void schedule_cut(struct schedule *schedule, int64_t until);
/* How many events are left, counted without walking them. */
int64_t schedule_left(const struct schedule *schedule);

#endif
