#include "line.h"

#include <stdlib.h>

/* 1 ms: 20 connects of a server that accepts 20,000 a second. 50 ms: one that hangs costs 20 calls a second. */
#define LEAST_PAUSE_NS INT64_C(1000000)
#define MOST_PAUSE_NS INT64_C(50000000)

bool line_join(struct line *line, uint64_t token, int64_t now) {
    if (line->count == line->capacity) {
        size_t capacity = line->capacity ? 2 * line->capacity : 64;
        uint64_t *tokens = malloc(capacity * sizeof *tokens);
        if (!tokens) return false;
        for (size_t i = 0; i < line->count; i++) tokens[i] = line->tokens[(line->first + i) % line->capacity];
        free(line->tokens);
        line->tokens = tokens;
        line->capacity = capacity;
        line->first = 0;
    }
    if (!line->count) {
        line->pause_ns = LEAST_PAUSE_NS;
        line->next_ns = now + line->pause_ns;
    }
    line->tokens[(line->first + line->count++) % line->capacity] = token;
    return true;
}

void line_leave(struct line *line, int64_t now) {
    line->first = (line->first + 1) % line->capacity;
    line->count--;
    line->pause_ns = LEAST_PAUSE_NS;
    line->next_ns = now;
}

void line_wait(struct line *line, int64_t now) {
    line->next_ns = now + line->pause_ns;
    line->pause_ns = line->pause_ns < MOST_PAUSE_NS / 2 ? 2 * line->pause_ns : MOST_PAUSE_NS;
}
