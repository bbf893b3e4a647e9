#include <math.h>

#include "blast.h"
#include "chance.h"

/* So many entries are kept though they do not count any more. */
enum { FEW_PAUSES = 1024 };

static bool counts(const struct blast *blast, struct deadline entry) {
    const struct connection *connection = &blast->slots[entry.slot];
    return connection->generation == entry.generation && connection->is_pausing;
}

static void find_next(struct blast *blast) { blast->due.next_ns = deadlines_first(&blast->pauses.ends); }

static int64_t draw(struct pauses *pauses, bool is_first) {
    double share = chance_share(pauses->seed, pauses->drawn++);
    if (!is_first) return drawing_at(&pauses->drawing, share);
    return llrint((double)drawing_under_way(&pauses->drawing, share) * chance_share(pauses->seed, pauses->drawn++));
}

void pauses_begin(struct blast *blast, struct connection *connection, int64_t from, bool is_first) {
    if (connection->is_pausing) return;
    struct pauses *pauses = &blast->pauses;
    if (pauses->ends.count > FEW_PAUSES + 2 * (size_t)blast->live_count) pauses_cut(blast, NEVER - 1);
    struct deadline entry = {from + draw(pauses, is_first), slot_number(blast, connection), connection->generation};
    connection->is_pausing = true;
    if (deadlines_push(&pauses->ends, entry)) blast->is_out_of_memory = true;
    find_next(blast);
    if (entry.at_ns < blast->check_ns) blast->check_ns = entry.at_ns;
}

struct connection *pauses_take(struct blast *blast, int64_t *intended) {
    struct deadline entry = deadlines_pop(&blast->pauses.ends);
    find_next(blast);
    if (!counts(blast, entry)) return NULL;
    struct connection *connection = &blast->slots[entry.slot];
    connection->is_pausing = false;
    *intended = entry.at_ns;
    return connection;
}

void pauses_cut(struct blast *blast, int64_t until) {
    struct deadlines *ends = &blast->pauses.ends;
    size_t kept = 0;
    for (size_t i = 0; i < ends->count; i++) {
        struct deadline entry = ends->heap[i];
        if (counts(blast, entry) && entry.at_ns <= until)
            ends->heap[kept++] = entry;
        else if (counts(blast, entry))
            blast->slots[entry.slot].is_pausing = false;
    }
    deadlines_keep(ends, kept);
    find_next(blast);
}

void pauses_drop(struct blast *blast, int64_t until) {
    struct deadlines *ends = &blast->pauses.ends;
    pauses_cut(blast, until);
    for (size_t i = 0; i < ends->count; i++) {
        board_count(&blast->board, COUNT_intended, ends->heap[i].at_ns, 1);
        board_count(&blast->board, COUNT_unsent, ends->heap[i].at_ns, 1);
        blast->slots[ends->heap[i].slot].is_pausing = false;
    }
    ends->count = 0;
    find_next(blast);
}
