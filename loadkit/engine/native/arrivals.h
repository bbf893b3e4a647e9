/* Random arrivals, a Poisson process: plan/arrivals.py, to the bit.
 *
 * The process is laid out where one message is due per unit on average; a pace (schedule.h) turns units into time. It
 * is made in blocks of so many units. How many messages a block has is a random number of the block, and where in the
 * block message k is, is a random number of its own. So a worker takes its part, k = index, index + of, ..., without a
 * look at the others', and what is left is counted by blocks.
 */
#ifndef LOADKIT_ARRIVALS_H
#define LOADKIT_ARRIVALS_H

#include <stdint.h>

/* A block is sorted when it comes: the larger it is, the longer that takes; the smaller, the longer counting does. */
enum { BLOCK_UNITS = 64 };
/* More messages than a block has: that many come in a share of 10^-22 of the blocks. */
enum { MOST_OF_BLOCK = 160 };
enum { GUIDES = 64 };

struct arrivals {
    uint64_t sizes_seed, places_seed;
    int64_t index, of;
    int64_t block, number;          /* the block that comes next, and the number of its first message */
    int64_t at, count;              /* of ours in the block before it: the next one, and how many there are */
    double places[MOST_OF_BLOCK];   /* … and where they are, in units */
    double at_most[MOST_OF_BLOCK];  /* the share of blocks that have so many messages, or fewer */
    uint8_t guide[GUIDES];          /* where to begin in at_most, for each part of the shares */
};

/* Each seed has a process of its own, of which messages index, index + of and so on are ours. */
void arrivals_begin(struct arrivals *arrivals, uint64_t seed, int64_t index, int64_t of);
/* Makes the next block in which there is one of ours. */
void arrivals_refill(struct arrivals *arrivals);
/* Goes on to a block that is not behind us. Returns how many of ours are in those that it passes over. */
int64_t arrivals_skip(struct arrivals *arrivals, int64_t block);
/* Where the next of ours is, in units. */
static inline double arrivals_next(struct arrivals *arrivals) {
    if (arrivals->at == arrivals->count) arrivals_refill(arrivals);
    return arrivals->places[arrivals->at];
}

#endif
