#include "arrivals.h"

#include "chance.h"

/* e^-64: the share of blocks without a message. As a number and not a call, so that it is the same everywhere. */
#define SHARE_OF_EMPTY 0x1.969d47321e4ccp-93

void arrivals_begin(struct arrivals *arrivals, uint64_t seed, int64_t index, int64_t of) {
    arrivals->sizes_seed = chance_word(seed, 0);
    arrivals->places_seed = chance_word(seed, 1);
    arrivals->index = index;
    arrivals->of = of;
    arrivals->block = arrivals->number = arrivals->at = arrivals->count = 0;
    double share = SHARE_OF_EMPTY, sum = 0.0;
    for (int k = 0; k < MOST_OF_BLOCK; k++) {
        sum += share;
        arrivals->at_most[k] = sum;
        share = share * BLOCK_UNITS / (k + 1);
    }
    arrivals->at_most[MOST_OF_BLOCK - 1] = 1.0;
    for (int i = 0, k = 0; i < GUIDES; i++) {
        while (arrivals->at_most[k] <= (double)i / GUIDES) k++;
        arrivals->guide[i] = (uint8_t)k;
    }
}

static int64_t size_of(const struct arrivals *arrivals, int64_t block) {
    double share = chance_share(arrivals->sizes_seed, (uint64_t)block);
    int64_t size = arrivals->guide[(int)(share * GUIDES)];
    while (arrivals->at_most[size] <= share) size++;
    return size;
}

/* How many of the messages 0 ... number - 1 are ours. */
static int64_t ours_below(const struct arrivals *arrivals, int64_t number) {
    return number / arrivals->of + (arrivals->index < number % arrivals->of);
}

void arrivals_refill(struct arrivals *arrivals) {
    int64_t count = 0;
    double *places = arrivals->places;
    while (!count) {
        int64_t end = arrivals->number + size_of(arrivals, arrivals->block);
        int64_t k = arrivals->index + ours_below(arrivals, arrivals->number) * arrivals->of;
        for (; k < end; k += arrivals->of) {
            double share = chance_share(arrivals->places_seed, (uint64_t)k);
            double place = ((double)arrivals->block + share) * BLOCK_UNITS;
            int64_t at = count++;
            for (; at && places[at - 1] > place; at--) places[at] = places[at - 1];
            places[at] = place;
        }
        arrivals->number = end;
        arrivals->block++;
    }
    arrivals->at = 0;
    arrivals->count = count;
}

int64_t arrivals_skip(struct arrivals *arrivals, int64_t block) {
    int64_t before = ours_below(arrivals, arrivals->number);
    for (; arrivals->block < block; arrivals->block++) arrivals->number += size_of(arrivals, arrivals->block);
    arrivals->at = arrivals->count = 0;
    return ours_below(arrivals, arrivals->number) - before;
}
