/* Random numbers that are a function of a seed and a number, and of nothing else: loadkit/chance.py, to the bit. */
#ifndef LOADKIT_CHANCE_H
#define LOADKIT_CHANCE_H

#include <stdint.h>

/* What a run uses its seed for: a word of the seed each, which is a seed itself. */
enum { CHANCE_ARRIVALS = 1, CHANCE_PAUSES = 2 };

/* Word `number` of a seed: SplitMix64. */
static inline uint64_t chance_word(uint64_t seed, uint64_t number) {
    uint64_t word = seed + (number + 1) * UINT64_C(0x9E3779B97F4A7C15);
    word = (word ^ (word >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94D049BB133111EB);
    return word ^ (word >> 31);
}

/* Share `number` of a seed: a multiple of 2^-53 from 0 to below 1. */
static inline double chance_share(uint64_t seed, uint64_t number) {
    return (double)(chance_word(seed, number) >> 11) * 0x1p-53;
}

#endif
