"""Random numbers that are a function of a seed and a number, and of nothing else; native/chance.h is the same in C.

So the same run with the same seed is the same run on every engine and with any number of workers, and no generator has
to be carried along. The function is SplitMix64's (Steele, Lea and Flood, Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014): a counter that goes up by the golden ratio, mixed.
"""

from __future__ import annotations

__all__ = ["ARRIVALS", "GOLDEN", "MESSAGES", "MIXERS", "MOST_SEED", "PAUSES", "share_at", "stream", "word_at"]

# A record is JSON, and some readers take its numbers for floats.
MOST_SEED = 2**53 - 1

# What a run uses its seed for, a stream each. native/chance.h has the same numbers.
ARRIVALS, PAUSES, MESSAGES = 1, 2, 3

# 2**64 divided by the golden ratio, and the two factors that mix a word.
GOLDEN, MIXERS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


def word_at(seed: int, number: int) -> int:
    """Returns word `number` of a seed: 64 random bits."""
    word = (seed + (number + 1) * GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * MIXERS[0]) & _MASK
    word = ((word ^ (word >> 27)) * MIXERS[1]) & _MASK
    return word ^ (word >> 31)


def share_at(seed: int, number: int) -> float:
    """Returns share `number` of a seed: a multiple of 2**-53 from 0 to below 1."""
    return (word_at(seed, number) >> 11) * 2.0**-53


def stream(seed: int, *numbers: int) -> int:
    """Returns the seed of what a seed is used for, by numbers: the arrivals of a phase, the pauses of a worker."""
    for number in numbers:
        seed = word_at(seed, number)
    return seed
