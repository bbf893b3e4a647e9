#include "line.h"

/* 1 ms: 20 connects of a server that accepts 20,000 a second. 50 ms: one that hangs costs 20 calls a second. */
#define LEAST_PAUSE_NS INT64_C(1000000)
#define MOST_PAUSE_NS INT64_C(50000000)

bool line_join(struct line *line, uint64_t token, int64_t now) {
    void *tokens = line->tokens;
    if (!ring_make_room(&line->ring, &tokens, sizeof *line->tokens)) return false;
    line->tokens = tokens;
    if (!line->ring.count) {
        line->pause_ns = LEAST_PAUSE_NS;
        line->next_ns = now + line->pause_ns;
    }
    line->tokens[ring_place(&line->ring, line->ring.count++)] = token;
    return true;
}

void line_leave(struct line *line, int64_t now) {
    ring_drop_first(&line->ring);
    line->pause_ns = LEAST_PAUSE_NS;
    line->next_ns = now;
}

void line_wait(struct line *line, int64_t now) {
    line->next_ns = now + line->pause_ns;
    line->pause_ns = line->pause_ns < MOST_PAUSE_NS / 2 ? 2 * line->pause_ns : MOST_PAUSE_NS;
}
