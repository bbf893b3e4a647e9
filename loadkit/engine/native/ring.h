/* A ring that grows: entries from `first` on, `count` of them, in memory for `capacity`. */
#ifndef LOADKIT_RING_H
#define LOADKIT_RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring {
    size_t first, count, capacity;
};

/* Makes room for another entry of `size` bytes. Returns false if there is no memory: all is as it was. */
bool ring_make_room(struct ring *ring, void **entries, size_t size);
/* Where entry number `i` is, from the first one on. */
static inline size_t ring_place(const struct ring *ring, size_t i) { return (ring->first + i) % ring->capacity; }
static inline void ring_drop_first(struct ring *ring) {
    ring->first = ring_place(ring, 1);
    ring->count--;
}

#endif
