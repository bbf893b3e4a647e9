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

/* -- standstills */

void blast_stood(struct blast *blast, int64_t from, int64_t until, bool is_in_turn) {
    struct board *board = &blast->board;
    int64_t *state = board->state;
    standstills_note(&blast->standstills, from, until);
    /* Each phase has its own part of it. */
    for (int64_t at = from, end; at < until; at = end) {
        int64_t *page = board_page(board, at);
        end = earlier(until, board->page_until);
        board_record(board, page, HISTOGRAM_standstill, end - at);
        if (is_in_turn) page[COUNT_busy_ns] -= end - at; /* it was no work */
        bool is_measured = blast->phase_plans[(page - board->first_page) / board->page_words].is_measured;
        if (!is_measured || end - at <= state[STATE_standstill_ns]) continue;
        state[STATE_standstill_ns] = end - at;
        state[STATE_standstill_at_ns] = at;
    }
}

/* A wait that was to end at `asked` at the latest has ended. */
static void note_wait(struct blast *blast, int64_t asked, int64_t ended) {
    if (ended - asked > STANDSTILL_NS) blast_stood(blast, asked, ended, false);
    blast->seen_ns = ended;
}

static void free_blast_parts(struct blast *blast) {
    schedule_close(&blast->connects);
    schedule_close(&blast->due);
    deadlines_close(&blast->deadlines);
    stream_close(&blast->stream);
    free(blast->looks.gaps);
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
    connections_close(blast);
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

/* -- phases */

void blast_begin_phases(struct blast *blast, int64_t at) {
    int64_t began = at;
    blast->next_phase_ns = at;
    for (int i = 1; i < blast->phases; i++) {
        board_begin_phase(&blast->board, i, at);
        at += blast->phase_plans[i].duration_ns;
    }
    if (began > clock_ns()) return;
    /* We hear of it late: looks at a schedule that we did not know were none. */
    blast->looks.last_ns = began - 1;
    connections_move_to_phase(blast, began);
}

/* What is left of the phase that ends at `at` is its own: it does not eat the next one's time. */
static void leave_phase(struct blast *blast, int64_t at) {
    if (blast->due.next_ns == NEVER && !blast->waiting_count) return;
    if (blast->seen_ns < at + EDGE_NS)
        for (int i = 0; i < ROUND && blast->due.next_ns < at && blast->waiting_count == 0; i++)
            if (!messages_take_due(blast)) break;
    messages_drop_due(blast);
}

static void enter_phase(struct blast *blast, int index, int64_t at) {
    const struct phase *phase = &blast->phase_plans[index];
    if (!phase->is_drain) leave_phase(blast, at);
    int64_t before = blast->phase_plans[blast->phase].connections;
    blast->phase = index;
    blast->is_measured = phase->is_measured;
    blast->has_measured |= phase->is_measured;
    blast->is_counting = phase->is_measured && blast->options.messages >= 0;
    blast->check_ns = 0;
    blast->board.state[STATE_phase] = index;
    blast->turn_says |= TURN_PHASE;
    if (phase->is_drain) {
        blast->next_phase_ns = NEVER;
        blast_begin_drain(blast, phase->duration_ns, blast->options.held_ns);
        return;
    }
    if (blast->is_spent || (phase->is_measured && blast->budget <= 0)) { /* the second: none is ours */
        blast_begin_drain(blast, blast->options.timeout_ns, blast->options.held_ns);
        return;
    }
    if (blast->stage == STAGE_RAMP) {
        prober_start(&blast->prober, at);
        blast->alone_ns = at;
    }
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
        struct pace pace = {.begin_ns = at,
                            .start_hz = phase->start_hz,
                            .change_hz_per_s = phase->change_hz_per_s,
                            .next = blast->options.index,
                            .step = blast->options.of,
                            .total = phase->total};
        if (blast->is_counting) pace_limit(&pace, blast->budget);
        if (pace.total) schedule_append(&blast->due, pace);
    } else if (!blast->is_sending) {
        blast->is_sending = true;
        blast->fill_at = 0;
        blast->fill_end = blast->live_count;
    }
}

void blast_enter_due_phases(struct blast *blast, int64_t now) {
    while (blast->next_phase_ns <= now) enter_phase(blast, blast->phase + 1, blast->next_phase_ns);
}

/* The last of --messages has its reply, or never will. Until then the phase goes on: replies are of its window. */
static void end_if_spent(struct blast *blast) {
    if (blast->is_spent && blast->stage == STAGE_TRAFFIC && !blast->waiting_count && !blast->pending_count)
        blast_begin_drain(blast, blast->options.timeout_ns, blast->options.held_ns);
}

/* Whether no connection is open, and none can open any more. In churn one always can: where --messages alone ends the
 * run, that is waited for as long as for a reply. */
static bool is_stranded(const struct blast *blast) {
    if (blast->stage != STAGE_TRAFFIC || blast->board.state[STATE_open]) return false;
    if (blast->options.lifetime_ns >= 0) {
        int64_t alone = blast->seen_ns - blast->alone_ns - standstills_since(&blast->standstills, blast->alone_ns);
        return blast->options.is_endless && alone > blast->options.timeout_ns;
    }
    bool opens_later = blast->phase < blast->last_opening && !blast->has_enough;
    return !blast->used_count && blast->connects.next_ns == NEVER && !opens_later;
}

/* Says so to the parent, which ends the run when all are. Until then what falls due is counted as unsent, unless there
 * is no end to that but the last of --messages: then all that is left of them is. */
static void end_if_stranded(struct blast *blast) {
    if (!is_stranded(blast)) return;
    if (!blast->board.state[STATE_stranded_ns]) blast->board.state[STATE_stranded_ns] = blast->seen_ns;
    if (!blast->options.is_endless) return;
    messages_drop_due(blast);
    blast_begin_drain(blast, blast->options.timeout_ns, 0);
}

void blast_spend(struct blast *blast, int64_t count) {
    if (!blast->is_counting || (blast->budget -= count) > 0) return;
    schedule_clear(&blast->due);
    blast->is_spent = true;
    blast->is_sending = false;
}

void blast_begin_drain(struct blast *blast, int64_t longest_ns, int64_t held_ns) {
    int64_t now = clock_ns();
    if (blast->stage < STAGE_DRAIN) blast->drain_from_ns = now;
    if (now + longest_ns < blast->drain_until_ns) blast->drain_until_ns = now + longest_ns;
    if (now + held_ns < blast->held_until_ns) blast->held_until_ns = now + held_ns;
    /* Nothing new falls due. */
    schedule_cut(&blast->due, now);
    if (!held_ns) messages_drop_due(blast);
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
    return !blast->retiring_count && !blast->pending_count && !blast->waiting_count && blast->due.next_ns == NEVER;
}

void blast_finish(struct blast *blast) {
    if (blast->stage == STAGE_DONE) return;
    blast->stage = STAGE_DONE;
    blast->drain_until_ns = blast->held_until_ns = 0;
    blast->is_sending = false;
    blast->fill_at = blast->fill_end = 0;
    blast_mend(blast);
    int64_t now = clock_ns();
    schedule_cut(&blast->due, now);
    messages_drop_due(blast);
    for (uint32_t i = 0; i < blast->live_count; i++)
        board_record(&blast->board, blast->board.first_page, HISTOGRAM_per_connection,
                     blast->slots[blast->live[i]].received / blast->options.size);
    for (uint32_t i = 0; i < blast->slot_count; i++)
        if (blast->slots[i].state != FREE) connection_finish(blast, &blast->slots[i], now);
    if (!blast->board.state[STATE_finished_ns]) blast->board.state[STATE_finished_ns] = now;
    blast->turn_says |= TURN_DONE;
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

/* The drain is longer by what we stood still: no reply could reach us. */
static int64_t drain_end(const struct blast *blast) {
    return blast->drain_until_ns + standstills_since(&blast->standstills, blast->drain_from_ns);
}

static int64_t next_time(const struct blast *blast) {
    int64_t next = earlier(next_due(blast), earlier(blast->next_phase_ns, deadlines_first(&blast->deadlines)));
    if (blast->retry_count) next = earlier(next, blast->retries[blast->retry_first].at_ns);
    if (blast->stage != STAGE_DRAIN) return next;
    return earlier(next, earlier(drain_end(blast), blast->held_until_ns));
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
    for (int i = 0; i < ROUND && blast->retry_count && blast->retries[blast->retry_first].at_ns <= now; i++) {
        struct retry retry = blast->retries[blast->retry_first];
        blast->retry_first = (blast->retry_first + 1) % blast->retry_capacity;
        blast->retry_count--;
        connection_begin(blast, clock_ns(), retry.route, false);
    }
    if (blast->fill_at < blast->fill_end) fill_some(blast);
    blast_mend(blast);
    end_if_spent(blast);
    end_if_stranded(blast);
    if (blast->stage == STAGE_DRAIN && blast->held_until_ns <= now) {
        messages_drop_due(blast);
        blast->held_until_ns = NEVER;
    }
    /* Not in the turn that began the drain: closing takes CPU time, which is to be counted there. */
    if (blast->turn_says & TURN_PHASE) return;
    if (is_over(blast)) blast_finish(blast);
}

/* After the sockets have been read: what has not come by now has not come in time. */
static void judge_deadlines(struct blast *blast) {
    int64_t reported = blast->poller.last.return_ns;
    for (int i = 0; i < ROUND && deadlines_first(&blast->deadlines) <= reported; i++)
        connection_on_deadline(blast, deadlines_pop(&blast->deadlines), reported);
    blast_mend(blast);
    end_if_spent(blast);
    end_if_stranded(blast);
    if (blast->stage == STAGE_DRAIN && reported >= drain_end(blast) && !(blast->turn_says & TURN_PHASE))
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
    /* While the asyncio loop had the thread it waited for what the timer was armed for. */
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
