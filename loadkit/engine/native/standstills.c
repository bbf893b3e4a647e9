/* That a worker stood still: noted in each phase that has a part of it. */
#include "blast.h"

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
