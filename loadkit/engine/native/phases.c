/* The time line of the blast end: its phases, how many messages are left, and the drain. */
#include "blast.h"
#include "chance.h"

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
    if (pauses_are_asked(&blast->pauses)) return; /* a pause may end in the next one */
    if (blast->seen_ns < at + EDGE_NS)
        for (int i = 0; i < ROUND && blast->due.next_ns < at && blast->waiting_count == 0; i++)
            if (!messages_take_due(blast)) break;
    messages_drop_due(blast);
}

/* When messages of the phase that begins at `at` are due. */
static struct pace pace_of_phase(struct blast *blast, int64_t at) {
    const struct phase *phase = &blast->phase_plans[blast->phase];
    int64_t index = blast->options.index, of = blast->options.of;
    if (blast->options.is_random) {
        uint64_t seed =
            chance_word(chance_word((uint64_t)blast->options.seed, CHANCE_ARRIVALS), (uint64_t)blast->phase);
        arrivals_begin(&blast->arrivals, seed, index, of);
        return pace_at_random(&blast->arrivals, at, at + phase->duration_ns - 1, phase->start_hz,
                              phase->change_hz_per_s);
    }
    return (struct pace){.begin_ns = at,
                         .start_hz = phase->start_hz,
                         .change_hz_per_s = phase->change_hz_per_s,
                         .next = index,
                         .step = of,
                         .total = phase->total};
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
        if (pauses_are_asked(&blast->pauses)) pauses_cut(blast, at - 1); /* none ends in the drain */
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
        struct pace pace = pace_of_phase(blast, at);
        if (blast->is_counting) pace_limit(&pace, blast->budget);
        if (phase->total) schedule_append(&blast->due, pace);
    } else if (!blast->is_sending && !blast->is_pausing) {
        blast->is_pausing = pauses_are_asked(&blast->pauses);
        blast->is_sending = !blast->is_pausing;
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

void blast_end_traffic(struct blast *blast) {
    end_if_spent(blast);
    end_if_stranded(blast);
}

void blast_begin_drain(struct blast *blast, int64_t longest_ns, int64_t held_ns) {
    int64_t now = clock_ns();
    if (blast->stage < STAGE_DRAIN) blast->drain_from_ns = now;
    if (now + longest_ns < blast->drain_until_ns) blast->drain_until_ns = now + longest_ns;
    if (now + held_ns < blast->held_until_ns) blast->held_until_ns = now + held_ns;
    /* Nothing new falls due. */
    schedule_cut(&blast->due, now);
    if (pauses_are_asked(&blast->pauses)) pauses_cut(blast, now);
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
    blast->is_sending = blast->is_pausing = false;
    blast->fill_at = blast->fill_end = 0;
    blast->next_phase_ns = NEVER;
    blast->retry_ring.count = 0;
    schedule_clear(&blast->connects);
}

bool blast_is_drained(const struct blast *blast) {
    return blast->stage == STAGE_DRAIN && !blast->retiring_count && !blast->pending_count && !blast->waiting_count &&
           blast->due.next_ns == NEVER;
}

void blast_finish(struct blast *blast) {
    if (blast->stage == STAGE_DONE) return;
    blast->stage = STAGE_DONE;
    blast->drain_until_ns = blast->held_until_ns = 0;
    blast->is_sending = blast->is_pausing = false;
    blast->fill_at = blast->fill_end = 0;
    blast_mend(blast);
    int64_t now = clock_ns();
    schedule_cut(&blast->due, now);
    messages_drop_due(blast);
    for (uint32_t i = 0; i < blast->live_count; i++) {
        const struct connection *connection = &blast->slots[blast->live[i]];
        int64_t origin = origin_of(blast, connection);
        int64_t sent = script_count(&blast->script, origin + connection->owed) - script_count(&blast->script, origin);
        int64_t replies = sent - connection->pending_count;
        board_record(&blast->board, blast->board.first_page, HISTOGRAM_per_connection, replies);
    }
    for (uint32_t i = 0; i < blast->slot_count; i++)
        if (blast->slots[i].state != FREE) connection_finish(blast, &blast->slots[i], now);
    if (!blast->board.state[STATE_finished_ns]) blast->board.state[STATE_finished_ns] = now;
    blast->turn_says |= TURN_DONE;
}

int64_t blast_drain_end(const struct blast *blast) {
    return blast->drain_until_ns + standstills_since(&blast->standstills, blast->drain_from_ns);
}
