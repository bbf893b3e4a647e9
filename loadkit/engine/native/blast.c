/* The time line of the blast end: what is due when, and the loop that waits for it. */
#include "blast.h"

#include <errno.h>
#include <stdlib.h>

#include "tcp_info.h"

/* How often we look at the worker whose connects come before ours: while it is at it, and before. */
#define LOOK_NS INT64_C(2000000)
#define REST_NS INT64_C(200000000)
/* A time-out is found by this part of it later, at the most. */
#define GRAINS 64
#define LONGEST_GRAIN_NS INT64_C(100000000)

static int64_t earlier(int64_t one, int64_t other) { return one < other ? one : other; }

static void free_blast_parts(struct blast *blast) {
    schedule_close(&blast->connects);
    schedule_close(&blast->due);
    deadlines_close(&blast->deadlines);
    stream_close(&blast->stream);
    free(blast->nodes);
    free(blast->retries);
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
    blast->waiting = blast->orphans = (struct queue){NONE, NONE};
    blast->route_left = blast->routes[0].connections;
    blast->buffer = malloc(READ_BYTES);
    /* The first connection, the ramp, and what each phase opens. */
    if (!blast->buffer || schedule_open(&blast->connects, blast->phases + 2) ||
        schedule_open(&blast->due, blast->phases + 1))
        return -1;
    if (poller_open(&blast->poller, &blast->board, control_fd)) return -1;
    for (int i = 0; i < blast->prober.count; i++)
        if (poller_add(&blast->poller, blast->prober.probes[i].fd, EPOLLIN, token_of(KIND_PROBE, (uint32_t)i, 0))) return -1;
    return 0;
}

void blast_close(struct blast *blast) {
    connections_close(blast);
    prober_close(&blast->prober);
    poller_close(&blast->poller);
    free_blast_parts(blast);
    board_close(&blast->board);
}

void blast_look_at_tcp(struct blast *blast, uint32_t most) {
    int64_t *page = board_page(&blast->board, clock_ns());
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

/* -- phases */

void blast_begin_phases(struct blast *blast, int64_t at) {
    int64_t began = at;
    blast->next_phase_ns = at;
    for (int i = 1; i < blast->phases; i++) {
        board_begin_phase(&blast->board, i, at);
        at += blast->phase_plans[i].duration_ns;
    }
    if (began <= clock_ns()) connections_move_to_phase(blast, began);
}

static void enter_phase(struct blast *blast, int index, int64_t at) {
    const struct phase *phase = &blast->phase_plans[index];
    int64_t before = blast->phase_plans[blast->phase].connections;
    blast->phase = index;
    blast->board.state[STATE_phase] = index;
    blast->turn_says |= TURN_PHASE;
    if (phase->is_drain) {
        blast->next_phase_ns = NEVER;
        blast_begin_drain(blast, phase->duration_ns, blast->options.held_ns);
        return;
    }
    if (blast->budget <= 0) { /* more workers than messages: none is ours */
        blast_begin_drain(blast, blast->options.timeout_ns, blast->options.held_ns);
        return;
    }
    if (blast->stage == STAGE_RAMP) prober_start(&blast->prober, at);
    blast->stage = STAGE_TRAFFIC;
    blast->next_phase_ns = at + phase->duration_ns;
    /* More connections come evenly over the phase; fewer go at its beginning. */
    int64_t more = phase->connections - before;
    if (more > 0 && !blast->has_enough) {
        /* Connection number before + k is worker (before + k) modulo of's: then each has its share of the phase's. */
        int64_t of = blast->options.of;
        struct pace pace = {.begin_ns = at,
                            .start_hz = (double)more / ((double)phase->duration_ns / 1e9),
                            .next = (blast->options.index - before % of + of) % of,
                            .step = of,
                            .total = more};
        schedule_append(&blast->connects, pace);
    }
    for (int64_t i = 0; i < phase->fewer && blast->live_count; i++)
        connection_retire(blast, &blast->slots[blast->live[blast->live_count - 1]], at, false);
    if (phase->is_paced) {
        struct pace pace = phase->pace;
        pace.begin_ns = at;
        if (pace.total) schedule_append(&blast->due, pace);
    } else if (!blast->is_sending) {
        blast->is_sending = true;
        blast->fill_at = 0;
        blast->fill_end = blast->live_count;
    }
}

void blast_enter_phases(struct blast *blast, int64_t now) {
    while (blast->next_phase_ns <= now) enter_phase(blast, blast->phase + 1, blast->next_phase_ns);
}

/* The last of --messages has gone out: nothing is left but replies. */
static void end_if_spent(struct blast *blast) {
    if (blast->budget <= 0 && blast->stage == STAGE_TRAFFIC && !blast->held_count && blast->waiting.first == NONE)
        blast_begin_drain(blast, blast->options.timeout_ns, blast->options.held_ns);
}

void blast_spend(struct blast *blast) {
    if (--blast->budget > 0) return;
    schedule_clear(&blast->due);
    blast->is_sending = false;
    end_if_spent(blast);
}

void blast_begin_drain(struct blast *blast, int64_t longest_ns, int64_t held_ns) {
    int64_t now = clock_ns();
    if (now + longest_ns < blast->drain_until_ns) blast->drain_until_ns = now + longest_ns;
    if (now + held_ns < blast->held_until_ns) blast->held_until_ns = now + held_ns;
    /* Nothing new falls due. */
    schedule_cut(&blast->due, now);
    if (!held_ns) messages_drop_due(blast, now);
    if (blast->stage >= STAGE_DRAIN) return;
    blast->stage = STAGE_DRAIN;
    prober_stop(&blast->prober);
    int last = blast->phases - 1;
    if (blast->phase != last) {
        for (int i = blast->phase + 1; i <= last; i++) board_begin_phase(&blast->board, i, now);
        blast->phase = last;
        blast->board.state[STATE_phase] = last;
        blast->turn_says |= TURN_PHASE;
    }
    blast->board.state[STATE_finished_ns] = now;
    blast->is_sending = false;
    blast->fill_at = blast->fill_end = 0;
    blast->next_phase_ns = NEVER;
    blast->retry_count = 0;
    schedule_clear(&blast->connects);
}

static bool is_drained(const struct blast *blast) {
    return !blast->retiring_count && !blast->pending_count && !blast->held_count && blast->due.next_ns == NEVER;
}

void blast_finish(struct blast *blast) {
    if (blast->stage == STAGE_DONE) return;
    blast->stage = STAGE_DONE;
    blast->drain_until_ns = blast->held_until_ns = 0;
    blast->is_sending = false;
    blast->fill_at = blast->fill_end = 0;
    blast_mend(blast);
    int64_t now = clock_ns();
    messages_drop_due(blast, now);
    for (uint32_t i = 0; i < blast->slot_count; i++)
        if (blast->slots[i].state != FREE) connection_finish(blast, &blast->slots[i], now);
    if (!blast->board.state[STATE_finished_ns]) blast->board.state[STATE_finished_ns] = now;
    blast->turn_says |= TURN_DONE;
}

/* -- the loop */

/* When the next connect is due. While too many are opening it waits for one of them: a serve end that cannot keep up would
 * only be drowned, and its replies come later than any time-out. The wait counts, for it is late from then on. */
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

/* When the next message or connect is due: that is what has to be on time. */
static int64_t next_due(const struct blast *blast) {
    int64_t next = earlier(blast->due.next_ns, next_connect(blast));
    return blast->prober.count ? earlier(next, prober_next(&blast->prober)) : next;
}

static int64_t next_time(const struct blast *blast) {
    int64_t next = earlier(next_due(blast), earlier(blast->next_phase_ns, deadlines_first(&blast->deadlines)));
    if (blast->retry_count) next = earlier(next, blast->retries[blast->retry_first].at_ns);
    return blast->stage == STAGE_DRAIN ? earlier(next, earlier(blast->drain_until_ns, blast->held_until_ns)) : next;
}

static bool is_over(const struct blast *blast) { return blast->stage == STAGE_DRAIN && is_drained(blast); }

static bool has_work(const struct blast *blast) {
    return blast->fill_at < blast->fill_end || blast->ready_count || is_over(blast);
}

static void fill_some(struct blast *blast) {
    int64_t now = clock_ns();
    for (int i = 0; i < ROUND && blast->fill_at < blast->fill_end && blast->fill_at < blast->live_count; i++) {
        struct connection *connection = &blast->slots[blast->live[blast->fill_at++]];
        messages_replied(blast, connection, now, false);
    }
    if (blast->fill_at >= blast->live_count) blast->fill_end = 0;
    if (blast->fill_at >= blast->fill_end) blast->fill_at = blast->fill_end = 0;
}

/* Does what is due by `now`, at most a round of each kind. */
static void do_due(struct blast *blast, int64_t now) {
    blast_enter_phases(blast, now);
    if (blast->before && next_connect(blast) <= now) look_before(blast, now);
    for (int i = 0; i < ROUND && next_connect(blast) <= now; i++) {
        int64_t due = blast->connects.next_ns;
        schedule_advance(&blast->connects);
        connection_begin(blast, due, next_route(blast), true);
    }
    for (int i = 0; i < ROUND && blast->due.next_ns <= now; i++) {
        int64_t due = blast->due.next_ns;
        schedule_advance(&blast->due);
        board_count(&blast->board, COUNT_intended, due, 1);
        messages_dispatch(blast, due, false);
        blast_spend(blast);
    }
    if (blast->prober.count) prober_send_due(&blast->prober, now);
    for (int i = 0; i < ROUND && deadlines_first(&blast->deadlines) <= now; i++)
        connection_on_deadline(blast, deadlines_pop(&blast->deadlines), now);
    for (int i = 0; i < ROUND && blast->retry_count && blast->retries[blast->retry_first].at_ns <= now; i++) {
        struct retry retry = blast->retries[blast->retry_first];
        blast->retry_first = (blast->retry_first + 1) % blast->retry_capacity;
        blast->retry_count--;
        connection_begin(blast, clock_ns(), retry.route, false);
    }
    if (blast->fill_at < blast->fill_end) fill_some(blast);
    blast_mend(blast);
    end_if_spent(blast);
    if (blast->stage == STAGE_DRAIN && blast->held_until_ns <= now) {
        messages_drop_due(blast, now);
        blast->held_until_ns = NEVER;
    }
    /* Not in the turn that began the drain: closing takes CPU time, which is to be counted there. */
    if (blast->turn_says & TURN_PHASE) return;
    if (is_over(blast) || (blast->stage == STAGE_DRAIN && now >= blast->drain_until_ns)) blast_finish(blast);
}

/* Reads on from those that had more than a turn's worth. */
static void read_ready(struct blast *blast) {
    size_t count = blast->ready_count;
    for (size_t i = 0; i < count; i++) {
        blast->slots[slot_of(blast->ready[i])].is_ready = false;
        /* The end of the stream may be behind what is left, and its event has been. */
        connection_on_event(blast, blast->ready[i], EPOLLIN | EPOLLRDHUP);
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
        } else if (kind_of(event->data.u64) == KIND_CONNECTION) {
            connection_on_event(blast, event->data.u64, event->events);
            blast_mend(blast);
        } else if (kind_of(event->data.u64) == KIND_PROBE) {
            count_apart(&blast->prober.apart, board_page(&blast->board, blast->poller.last.return_ns), &blast->poller.last);
            prober_receive(&blast->prober, (int)slot_of(event->data.u64), &blast->poller.last);
        }
        if (next_due(blast) <= blast->read_ns) do_due(blast, blast->read_ns);
    }
    if (blast->stage != STAGE_DONE && blast->ready_count) read_ready(blast);
}

int blast_turn(struct blast *blast, int64_t linger_ns) {
    int64_t now = clock_ns(), until = now + linger_ns;
    blast->turn_says = 0;
    for (;;) {
        do_due(blast, now);
        if (blast->turn_says || blast->is_out_of_memory) break;
        if (now >= until) break;
        int64_t next = next_time(blast), due = next_due(blast);
        int count;
        if (next <= now || has_work(blast)) {
            count = poller_wait(&blast->poller, 0);
        } else if (due - now < blast->options.awake_ns) {
            count = poller_spin(&blast->poller, next);
        } else {
            /* Awake in time to be on time. */
            poller_arm(&blast->poller, earlier(next, due - blast->options.awake_ns));
            count = poller_wait(&blast->poller, until);
        }
        handle(blast, count);
        if (blast->turn_says) break;
        now = clock_ns();
    }
    if (blast->stage != STAGE_DONE) {
        /* What is left to do makes the epoll fd readable, now or when it is due. */
        poller_arm(&blast->poller, has_work(blast) ? 1 : next_time(blast));
        poller_pause(&blast->poller);
    }
    return blast->turn_says;
}
