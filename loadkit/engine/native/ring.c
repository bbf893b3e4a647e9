#include "ring.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

bool ring_make_room(struct ring *ring, void **entries, size_t size) {
    if (ring->count < ring->capacity) return true;
    size_t capacity = ring->capacity ? 2 * ring->capacity : FIRST_CAPACITY;
    char *grown = malloc(capacity * size);
    if (!grown) return false;
    /* It is full: from the first one to the end of the memory, and then from its beginning. */
    size_t behind = ring->capacity - ring->first;
    if (ring->count) {
        memcpy(grown, (char *)*entries + ring->first * size, behind * size);
        memcpy(grown + behind * size, *entries, ring->first * size);
    }
    free(*entries);
    *entries = grown;
    ring->capacity = capacity;
    ring->first = 0;
    return true;
}
