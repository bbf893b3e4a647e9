#include "deadlines.h"

#include <stdlib.h>

int deadlines_push(struct deadlines *deadlines, struct deadline entry) {
    if (deadlines->count == deadlines->capacity) {
        size_t capacity = deadlines->capacity ? 2 * deadlines->capacity : 64;
        struct deadline *heap = realloc(deadlines->heap, capacity * sizeof *heap);
        if (!heap) return -1;
        deadlines->heap = heap;
        deadlines->capacity = capacity;
    }
    size_t place = deadlines->count++;
    while (place) {
        size_t parent = (place - 1) / 2;
        if (deadlines->heap[parent].at_ns <= entry.at_ns) break;
        deadlines->heap[place] = deadlines->heap[parent];
        place = parent;
    }
    deadlines->heap[place] = entry;
    return 0;
}

/* Puts `entry` into the hole at `place`, or further down, so that none is before its parent. */
static void sift_down(struct deadlines *deadlines, size_t place, struct deadline entry) {
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= deadlines->count) break;
        if (child + 1 < deadlines->count && deadlines->heap[child + 1].at_ns < deadlines->heap[child].at_ns) child++;
        if (deadlines->heap[child].at_ns >= entry.at_ns) break;
        deadlines->heap[place] = deadlines->heap[child];
        place = child;
    }
    deadlines->heap[place] = entry;
}

struct deadline deadlines_pop(struct deadlines *deadlines) {
    struct deadline first = deadlines->heap[0];
    struct deadline last = deadlines->heap[--deadlines->count];
    sift_down(deadlines, 0, last);
    return first;
}

void deadlines_keep(struct deadlines *deadlines, size_t count) {
    deadlines->count = count;
    for (size_t i = count / 2; i-- > 0;) sift_down(deadlines, i, deadlines->heap[i]);
}

void deadlines_close(struct deadlines *deadlines) {
    free(deadlines->heap);
    deadlines->heap = NULL;
    deadlines->count = deadlines->capacity = 0;
}
