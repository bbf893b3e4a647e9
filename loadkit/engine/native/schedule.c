#include "schedule.h"

#include <math.h>
#include <stdlib.h>

static int64_t time_of(const struct pace *pace, int64_t k) {
    if (pace->change_hz_per_s == 0.0) return pace->begin_ns + llrint((double)k * 1e9 / pace->start_hz);
    double inside = pace->start_hz * pace->start_hz + 2.0 * (double)k * pace->change_hz_per_s;
    double seconds = k ? 2.0 * (double)k / (pace->start_hz + sqrt(inside > 0.0 ? inside : 0.0)) : 0.0;
    return pace->begin_ns + llrint(seconds * 1e9);
}

static void find_next(struct schedule *schedule) {
    while (schedule->first < schedule->count) {
        struct pace *pace = &schedule->paces[schedule->first];
        if (pace->next < pace->total) {
            schedule->next_ns = time_of(pace, pace->next);
            return;
        }
        schedule->first++;
    }
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

void pace_limit(struct pace *pace, int64_t most) {
    if (pace->next < pace->total && (pace->total - pace->next - 1) / pace->step >= most)
        pace->total = pace->next + most * pace->step;
}

void schedule_advance(struct schedule *schedule) {
    struct pace *pace = &schedule->paces[schedule->first];
    pace->next += pace->step;
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

int64_t schedule_left(const struct schedule *schedule) {
    int64_t left = 0;
    for (int i = schedule->first; i < schedule->count; i++) {
        const struct pace *pace = &schedule->paces[i];
        if (pace->next < pace->total) left += (pace->total - pace->next - 1) / pace->step + 1;
    }
    return left;
}

void schedule_cut(struct schedule *schedule, int64_t until) {
    for (int i = schedule->first; i < schedule->count; i++) {
        struct pace *pace = &schedule->paces[i];
        /* The first event past `until` by bisection: time_of grows with k. */
        int64_t low = pace->next, high = pace->total;
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            if (time_of(pace, middle) <= until)
                low = middle + 1;
            else
                high = middle;
        }
        pace->total = low;
    }
    find_next(schedule);
}
