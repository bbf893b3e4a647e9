#include "schedule.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Random events later than this, 136 years, are never due: what is later may not fit into 64 bits. */
#define LONGEST_NS 0x1p62

/* How long after the beginning event k is due, in ns. */
static double after(const struct pace *pace, double k) {
    if (pace->change_hz_per_s == 0.0) return k * 1e9 / pace->start_hz;
    double inside = pace->start_hz * pace->start_hz + 2.0 * k * pace->change_hz_per_s;
    double seconds = k != 0.0 ? 2.0 * k / (pace->start_hz + sqrt(inside > 0.0 ? inside : 0.0)) : 0.0;
    return seconds * 1e9;
}

static int64_t time_of(const struct pace *pace, int64_t k) { return pace->begin_ns + llrint(after(pace, (double)k)); }

/* Whether a random event is due by the end of the pace; and when. */
static bool is_due(const struct pace *pace, double place, int64_t *at) {
    double ns = after(pace, place);
    if (!(ns < LONGEST_NS)) return false;
    *at = pace->begin_ns + llrint(ns);
    return *at <= pace->until_ns;
}

static bool has_next(struct pace *pace, int64_t *at) {
    if (pace->next >= pace->total) return false;
    if (pace->arrivals) return is_due(pace, arrivals_next(pace->arrivals), at);
    *at = time_of(pace, pace->next);
    return true;
}

static void find_next(struct schedule *schedule) {
    for (; schedule->first < schedule->count; schedule->first++)
        if (has_next(&schedule->paces[schedule->first], &schedule->next_ns)) return;
    schedule->next_ns = NEVER;
}

int schedule_open(struct schedule *schedule, int capacity) {
    schedule->paces = calloc((size_t)capacity, sizeof *schedule->paces);
    schedule->count = schedule->first = 0;
    schedule->next_ns = NEVER;
    return schedule->paces ? 0 : -1;
}

void schedule_close(struct schedule *schedule) {
    free(schedule->paces);
    schedule->paces = NULL;
}

void schedule_append(struct schedule *schedule, struct pace pace) {
    schedule->paces[schedule->count++] = pace;
    if (schedule->next_ns == NEVER) find_next(schedule);
}

struct pace pace_of_turn(struct turn turn, int64_t begin_ns, double hz) {
    int64_t workers = (turn.of - turn.lane + turn.lanes - 1) / turn.lanes; /* of the lane */
    int64_t first = turn.place, last = turn.place + turn.count - 1;
    struct pace pace = {.begin_ns = begin_ns, .start_hz = hz, .step = turn.lanes, .group = workers};
    pace.next = first / workers * turn.of + turn.lane + first % workers * turn.lanes;
    pace.taken = first % workers;
    pace.jump = turn.of - workers * turn.lanes;
    if (turn.count) pace.total = last / workers * turn.of + turn.lane + last % workers * turn.lanes + 1;
    return pace;
}

struct pace pace_at_random(struct arrivals *arrivals, int64_t begin_ns, int64_t until_ns, double hz, double change) {
    return (struct pace){.begin_ns = begin_ns,
                         .start_hz = hz,
                         .change_hz_per_s = change,
                         .step = 1,
                         .total = NEVER,
                         .arrivals = arrivals,
                         .until_ns = until_ns};
}

void pace_limit(struct pace *pace, int64_t most) {
    if (pace->next < pace->total && (pace->total - pace->next - 1) / pace->step >= most)
        pace->total = pace->next + most * pace->step;
}

void schedule_advance(struct schedule *schedule) {
    struct pace *pace = &schedule->paces[schedule->first];
    pace->next += pace->step;
    if (pace->arrivals) pace->arrivals->at++;
    if (pace->group && ++pace->taken == pace->group) {
        pace->taken = 0;
        pace->next += pace->jump;
    }
    find_next(schedule);
}

void schedule_clear(struct schedule *schedule) {
    schedule->first = schedule->count;
    schedule->next_ns = NEVER;
}

/* The last block that begins by the end of a pace; -1 if none does. */
static int64_t last_block(const struct pace *pace) {
    int64_t low = 0, high = 1, at;
    while (is_due(pace, (double)high * BLOCK_UNITS, &at)) high *= 2;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (is_due(pace, (double)middle * BLOCK_UNITS, &at))
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

/* Takes those of the arrivals' block that are due by the end of the pace; returns how many. */
static int64_t take_due(const struct pace *pace, struct arrivals *arrivals) {
    int64_t before = arrivals->at, at;
    while (arrivals->at < arrivals->count && is_due(pace, arrivals->places[arrivals->at], &at)) arrivals->at++;
    return arrivals->at - before;
}

/* How many random events are left. All of those between this block and the last one are due, and counted by blocks. */
static int64_t random_left(const struct pace *pace) {
    struct arrivals arrivals = *pace->arrivals;
    int64_t last = last_block(pace), left = take_due(pace, &arrivals);
    if (arrivals.block > last) return left;
    left += arrivals_skip(&arrivals, last);
    arrivals_refill(&arrivals);
    return left + take_due(pace, &arrivals);
}

static int64_t pace_left(const struct pace *pace) {
    if (pace->next >= pace->total) return 0;
    int64_t most = (pace->total - pace->next - 1) / pace->step + 1;
    if (!pace->arrivals) return most;
    int64_t left = random_left(pace);
    return left < most ? left : most;
}

int64_t schedule_left(const struct schedule *schedule) {
    int64_t left = 0;
    for (int i = schedule->first; i < schedule->count; i++) left += pace_left(&schedule->paces[i]);
    return left;
}

/* The first event past `until` by bisection: time_of grows with k. */
static int64_t first_past(const struct pace *pace, int64_t until) {
    int64_t low = pace->next, high = pace->total;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (time_of(pace, middle) <= until)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void schedule_cut(struct schedule *schedule, int64_t until) {
    for (int i = schedule->first; i < schedule->count; i++) {
        struct pace *pace = &schedule->paces[i];
        if (!pace->arrivals)
            pace->total = first_past(pace, until);
        else if (pace->until_ns > until)
            pace->until_ns = until;
    }
    find_next(schedule);
}
