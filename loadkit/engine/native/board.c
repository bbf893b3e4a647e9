#include "board.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

int board_open(struct board *board, int64_t *words, int64_t length, int phases) {
    int64_t pages = length - STATE_WORDS;
    if (phases < 1 || pages <= 0 || pages % phases) {
        errno = EINVAL;
        return -1;
    }
    bool has_journeys = words[STATE_journeys];
    int histograms = HISTOGRAMS + (has_journeys ? STAGES : 0);
    int64_t left = pages / phases - COUNTERS - STEPS * ERRNOS - (has_journeys ? TAIL_WORDS : 0);
    if (left % histograms || left / histograms <= HEAD_WORDS) {
        errno = EINVAL;
        return -1;
    }
    board->starts = malloc((size_t)phases * sizeof *board->starts);
    if (!board->starts) return -1;
    for (int i = 0; i < phases; i++) board->starts[i] = i ? NEVER : -NEVER;
    board->state = words;
    board->first_page = words + STATE_WORDS;
    board->page_words = pages / phases;
    board->histograms = histograms;
    board->histogram_words = left / histograms;
    board->counts_length = board->histogram_words - HEAD_WORDS;
    board->phases = phases;
    board->page_from = board->page_until = NEVER;
    return 0;
}

void board_close(struct board *board) {
    free(board->starts);
    board->starts = NULL;
}

void board_begin_phase(struct board *board, int index, int64_t at) {
    if (index) board->starts[index] = at;
    board->page_from = board->page_until = NEVER; /* look it up anew */
}

int64_t *board_find_page(struct board *board, int64_t intended) {
    int index = board->phases - 1;
    while (index > 0 && board->starts[index] > intended) index--;
    board->page = board->first_page + index * board->page_words;
    board->page_from = board->starts[index];
    board->page_until = NEVER;
    /* The next phase that has begun, or will: several may begin at once, and then the last of them has it all. */
    for (int i = index + 1; i < board->phases; i++)
        if (board->starts[i] < board->page_until) board->page_until = board->starts[i];
    return board->page;
}

void board_error(struct board *board, int step, int number, int64_t at) {
    int known = number > 0 && number < ERRNOS ? number : OWN_UNKNOWN;
    board_page(board, at)[COUNTERS + step * ERRNOS + known]++;
}
