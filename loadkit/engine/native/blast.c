/* The blast end's worker: its life, its standstills, what is due when, and the loop that waits for it. */
#include "blast.h"

#include <errno.h>
#include <stdlib.h>

#include "tcp_info.h"

/* How often the slot of the worker whose connects come before is read: while it connects, and before that. */
#define LOOK_NS INT64_C(2000000)
#define REST_NS INT64_C(200000000)
/* A time-out is found at most this part of it later. */
#define GRAINS 64
#define LONGEST_GRAIN_NS INT64_C(100000000)

/* -- standstills */

/* A wait that was to end at `asked` at the latest has ended. */
static void note_wait(struct blast *blast, int64_t asked, int64_t ended) {
    if (ended - asked > STANDSTILL_NS) blast_stood(blast, asked, ended, false);
    blast->seen_ns = ended;
}

static void free_blast_parts(struct blast *blast) {
    schedule_close(&blast->connects);
    schedule_close(&blast->due);
    deadlines_close(&blast->deadlines);
    deadlines_close(&blast->pauses.ends);
    drawing_close(&blast->pauses.drawing);
    script_close(&blast->script);
    setup_close(&blast->setup);
    free(blast->looks.gaps);
    free(blast->nodes);
    free(blast->retries);
    free(blast->line.tokens);
    free(blast->ready);
    free(blast->buffer);
    free(blast->phase_plans);
    free(blast->routes);
}

int blast_open(struct blast *blast, int control_fd) {
    blast->drain_until_ns = blast->held_until_ns = blast->next_phase_ns = NEVER;
    blast->budget = blast->options.messages < 0 ? NEVER : blast->options.messages;
    blast->grain_ns = earlier(blast->options.timeout_ns, blast->options.connect_timeout_ns) / GRAINS;
    blast->grain_ns = blast->grain_ns < 1 ? 1 : earlier(blast->grain_ns, LONGEST_GRAIN_NS);
    blast->free_node = NONE;
    blast->waiting = (struct queue){NONE, NONE};
    blast->route_left = blast->routes[0].connections;
    blast->buffer = malloc(READ_BYTES);
    blast->looks.gaps = malloc(GAPS * sizeof *blast->looks.gaps);
    blast->looks.last_ns = blast->seen_ns = blast->left_ns = blast->alone_ns = clock_ns();
    for (int i = 1; i < blast->phases; i++)
        if (blast->phase_plans[i].connections > blast->phase_plans[i - 1].connections) blast->last_opening = i;
    /* Of connects: the first one, the ramp, and what each phase opens. */
    if (!blast->buffer || !blast->looks.gaps || schedule_open(&blast->connects, blast->phases + 2) ||
        schedule_open(&blast->due, blast->phases + 1))
        return -1;
    if (poller_open(&blast->poller, &blast->board, control_fd)) return -1;
    for (int i = 0; i < blast->prober.count; i++)
        if (poller_add(&blast->poller, blast->prober.probes[i].fd, EPOLLIN, token_of(KIND_PROBE, (uint32_t)i, 0)))
            return -1;
    return 0;
}

void blast_close(struct blast *blast) {
    slots_close(blast);
    prober_close(&blast->prober);
    poller_close(&blast->poller);
    free_blast_parts(blast);
    board_close(&blast->board);
}

void blast_look_at_tcp(struct blast *blast, uint32_t most) {
    int64_t *page = board_page(&blast->board, clock_ns());
    if (blast->tcp_watch.page) blast->tcp_watch.wanted = most;
    tcp_watch_look(blast);
    for (uint32_t i = 0; i < most && i < blast->live_count; i++) {
        blast->sampled = (blast->sampled + 1) % blast->live_count;
        note_tcp_info(&blast->board, page, blast->slots[blast->live[blast->sampled]].fd);
    }
}

void blast_open_first(struct blast *blast, int64_t at) {
    blast->first.is_due = true;
    schedule_append(&blast->connects, (struct pace){.begin_ns = at, .start_hz = 1.0, .step = 1, .total = 1});
}

void blast_start(struct blast *blast, int64_t start, double connect_hz, struct turn turn) {
    blast->is_started = true;
    schedule_append(&blast->connects, pace_of_turn(turn, start, connect_hz));
}

void blast_start_after(struct blast *blast, const int64_t *state, int64_t connects) {
    blast->before = state;
    blast->before_connects = connects;
}

/* -- the loop */

/* When the next connect is due. While too many are opening it waits for one of them: a serve end that cannot keep up
 * would only be drowned, and its replies come later than any time-out. The wait counts, for it is late from then on. */
static int64_t next_connect(const struct blast *blast) {
    if (blast->opening_count >= blast->options.opening) return NEVER;
    return blast->before && blast->connects.next_ns < blast->look_ns ? blast->look_ns : blast->connects.next_ns;
}

/* Looks whether it is our turn to connect: the worker before us on this core has done so, or the ramp is over. */
static void look_before(struct blast *blast, int64_t now) {
    int64_t settled = __atomic_load_n(&blast->before[STATE_settled], __ATOMIC_RELAXED);
    if (settled >= blast->before_connects || blast->stage != STAGE_RAMP)
        blast->before = NULL;
    else
        blast->look_ns = now + (settled ? LOOK_NS : REST_NS);
}

/* When the next message or connect is due: that is what has to be on time. Messages that have no place wait for a
 * reply. */
static int64_t next_due(const struct blast *blast) {
    int64_t next = blast->is_full ? next_connect(blast) : earlier(blast->due.next_ns, next_connect(blast));
    return blast->prober.count ? earlier(next, prober_next(&blast->prober)) : next;
}

static int64_t next_time(const struct blast *blast) {
    int64_t next = earlier(next_due(blast), earlier(blast->next_phase_ns, deadlines_first(&blast->deadlines)));
    if (blast->retry_ring.count) next = earlier(next, blast->retries[blast->retry_ring.first].at_ns);
    if (blast->line.ring.count) next = earlier(next, blast->line.next_ns);
    if (blast->stage != STAGE_DRAIN) return next;
    return earlier(next, earlier(blast_drain_end(blast), blast->held_until_ns));
}

static bool has_work(const struct blast *blast) {
    return blast->fill_at < blast->fill_end || blast->ready_count || blast_is_drained(blast);
}

/* One that has no reply yet pauses after that. */
static void begin_pausing(struct blast *blast, struct connection *connection, int64_t now) {
    if (has_room(blast, connection)) pauses_begin(blast, connection, now, true);
}

static void fill_some(struct blast *blast) {
    int64_t now = clock_ns();
    blast_enter_phases(blast, now);
    for (int i = 0; i < ROUND && blast->fill_at < blast->fill_end && blast->fill_at < blast->live_count; i++) {
        struct connection *connection = &blast->slots[blast->live[blast->fill_at++]];
        if (blast->is_pausing)
            begin_pausing(blast, connection, now);
        else
            connection_go_on(blast, connection, now, false);
    }
    if (blast->fill_at >= blast->live_count) blast->fill_end = 0;
    if (blast->fill_at >= blast->fill_end) blast->fill_at = blast->fill_end = 0;
}

/* Does what is due by `now`, at most a round of each kind. */
static void do_due(struct blast *blast, int64_t now) {
    looks_note(&blast->looks, now);
    blast_enter_phases(blast, now);
    if (blast->before && next_connect(blast) <= now) look_before(blast, now);
    for (int i = 0; i < ROUND && next_connect(blast) <= now; i++) {
        bool is_loop = blast->options.connects_in_a_loop && blast->stage == STAGE_RAMP;
        int64_t due = is_loop ? clock_ns() : blast->connects.next_ns;
        schedule_advance(&blast->connects);
        connection_begin(blast, due, next_route(blast), true);
    }
    for (int i = 0; i < ROUND && !blast->is_full && blast->due.next_ns <= now; i++)
        if (!messages_take_due(blast)) break;
    if (blast->prober.count) prober_send_due(&blast->prober, now);
    blast->check_ns = 0;
    for (int i = 0; i < ROUND && blast->retry_ring.count; i++) {
        struct retry retry = blast->retries[blast->retry_ring.first];
        if (retry.at_ns > now) break;
        ring_drop_first(&blast->retry_ring);
        connection_begin(blast, clock_ns(), retry.route, false);
    }
    if (blast->line.ring.count && blast->line.next_ns <= now) connections_leave_line(blast, now);
    if (blast->fill_at < blast->fill_end) fill_some(blast);
    blast_mend(blast);
    blast_end_traffic(blast);
    if (blast->stage == STAGE_DRAIN && blast->held_until_ns <= now) {
        messages_drop_due(blast);
        blast->held_until_ns = NEVER;
    }
    /* Not in the turn that began the drain: closing takes CPU time, which is to be counted there. */
    if (blast->turn_says & TURN_PHASE) return;
    if (blast_is_drained(blast)) blast_finish(blast);
}

/* After the sockets have been read: what has not come by now has not come in time. */
static void judge_deadlines(struct blast *blast) {
    int64_t reported = blast->poller.last.return_ns;
    for (int i = 0; i < ROUND && deadlines_first(&blast->deadlines) <= reported; i++)
        connection_on_deadline(blast, deadlines_pop(&blast->deadlines), reported);
    blast_mend(blast);
    blast_end_traffic(blast);
    if (blast->stage == STAGE_DRAIN && reported >= blast_drain_end(blast) && !(blast->turn_says & TURN_PHASE))
        blast_finish(blast);
}

/* Reads on from those that had more than a turn's worth. */
static void read_ready(struct blast *blast) {
    size_t count = blast->ready_count;
    for (size_t i = 0; i < count; i++) {
        blast->slots[slot_of(blast->ready[i])].is_ready = false;
        /* The end of the stream may be behind what is left, and its event has been. */
        connection_on_event(blast, blast->ready[i], EPOLLIN | HIDES_MORE);
        blast_mend(blast);
    }
    for (size_t i = count; i < blast->ready_count; i++) blast->ready[i - count] = blast->ready[i];
    blast->ready_count -= count;
}

static void handle(struct blast *blast, int count) {
    for (int i = 0; i < count && blast->stage != STAGE_DONE; i++) {
        const struct epoll_event *event = &blast->poller.events[i];
        if (kind_of(event->data.u64) == KIND_CONTROL) {
            blast->turn_says |= TURN_HEARD;
        } else if (kind_of(event->data.u64) == KIND_TIMER) {
            poller_arm(&blast->poller, NEVER); /* or it stays readable */
            if (count == 1 && next_time(blast) > blast->poller.last.return_ns)
                board_page(&blast->board, blast->poller.last.return_ns)[COUNT_beats]++;
        } else if (kind_of(event->data.u64) == KIND_CONNECTION) {
            connection_on_event(blast, event->data.u64, event->events);
            blast_mend(blast);
        } else if (kind_of(event->data.u64) == KIND_PROBE) {
            count_apart(&blast->prober.apart, board_page(&blast->board, blast->poller.last.return_ns),
                        &blast->poller.last);
            prober_receive(&blast->prober, (int)slot_of(event->data.u64), &blast->poller.last);
            blast->check_ns = 0;
        }
        if (blast->check_ns <= blast->read_ns) {
            blast->check_ns = earlier(next_due(blast), blast->next_phase_ns);
            if (blast->check_ns <= blast->read_ns) do_due(blast, blast->read_ns);
        }
    }
    if (blast->stage != STAGE_DONE && blast->ready_count) read_ready(blast);
}

/* Waits for events until something is due, or `until`, or for a beat; returns their number. */
static int wait_for_events(struct blast *blast, int64_t now, int64_t until) {
    int64_t next = next_time(blast), due = next_due(blast), asked = now, beat = now + BEAT_NS;
    int count;
    if (next <= now || has_work(blast)) {
        count = poller_wait(&blast->poller, 0);
    } else if (due - now < blast->options.awake_ns) {
        asked = next;
        count = poller_spin(&blast->poller, next);
    } else {
        /* Awake in time to be on time. */
        asked = earlier(next, due - blast->options.awake_ns);
        poller_arm(&blast->poller, asked);
        until = earlier(until, beat);
        asked = earlier(asked, until);
        count = poller_wait(&blast->poller, until);
    }
    const struct waited *last = &blast->poller.last;
    if (!count && last->return_ns >= beat) board_page(&blast->board, beat)[COUNT_beats]++;
    blast_see(blast, blast->poller.begin_ns);
    note_wait(blast, asked > blast->poller.begin_ns ? asked : blast->poller.begin_ns, last->return_ns);
    return count;
}

/* A function of its own also where the files are optimized as one: profilers tell a worker's turns by it. */
__attribute__((noinline)) int blast_turn(struct blast *blast, int64_t linger_ns) {
    int64_t now = clock_ns(), until = now + linger_ns;
    blast->turn_says = 0;
    /* While the asyncio loop had the thread, it waited until the time that the timer was armed for. */
    int64_t armed = blast->poller.armed_ns;
    note_wait(blast, armed > blast->left_ns ? armed : blast->left_ns, now);
    for (;;) {
        blast_see(blast, now);
        do_due(blast, now);
        if (blast->turn_says || blast->is_out_of_memory) break;
        if (now >= until) break;
        handle(blast, wait_for_events(blast, now, until));
        if (blast->stage != STAGE_DONE) judge_deadlines(blast);
        if (blast->turn_says) break;
        now = clock_ns();
    }
    if (blast->stage != STAGE_DONE) {
        /* What is left to do makes the epoll fd readable, now or when it is due; and so does the beat. */
        blast->left_ns = clock_ns();
        poller_arm(&blast->poller, has_work(blast) ? 1 : earlier(next_time(blast), blast->left_ns + BEAT_NS));
        poller_pause(&blast->poller);
    }
    return blast->turn_says;
}
