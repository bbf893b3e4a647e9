"""Random arrivals: a Poisson process of any pace, in which every message follows from the seed and its number.

The process is laid out where one message is due per unit on average, and the pace says when so many units are over: so
a rate that changes is no different. The units are divided into blocks of BLOCK_UNITS. How many messages a block has is
a random number of the block, with the Poisson distribution. Where in the block message k is, is a random number of its
own, and all places are alike. That is a Poisson process (Kingman, Poisson Processes, 1993, section 2.4).

Message k of a phase is worker k modulo n's. So all workers together have the same process whatever their number, each
makes its own messages alone, and keeps none of them beyond its block. native/arrivals.h is the same in C, to the bit.
"""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_right
from collections.abc import Iterator

from loadkit.chance import share_at, word_at
from loadkit.plan.pacing import LinearPace, share

__all__ = ["BLOCK_UNITS", "PoissonProcess", "arrival_times", "sizes_at_most"]

# A block is sorted when it comes: the larger it is, the longer that takes; the smaller, the longer counting does.
BLOCK_UNITS = 64
# More messages than a block has: that many come in a share of 10**-22 of the blocks.
_MOST_OF_BLOCK = 160
# e**-64: the share of blocks without a message. As a number and not a call, so that it is the same everywhere.
_SHARE_OF_EMPTY = float.fromhex("0x1.969d47321e4ccp-93")


class PoissonProcess:
    """A process: each seed has one of its own."""

    __slots__ = ("_places_seed", "sizes_seed")

    def __init__(self, seed: int) -> None:
        self.sizes_seed = word_at(seed, 0)
        self._places_seed = word_at(seed, 1)

    def size(self, block: int) -> int:
        """Returns how many messages a block has."""
        return bisect_right(sizes_at_most(), share_at(self.sizes_seed, block))

    def places(self, block: int, first: int, index: int, of: int) -> list[float]:
        """Returns where the messages of worker `index` of `of` are in a block, in units and in order.

        The first message in the block is message number `first` of the process.
        """
        own = range(index + share(first, index, of) * of, first + self.size(block), of)
        return sorted((block + share_at(self._places_seed, number)) * BLOCK_UNITS for number in own)


@functools.cache
def sizes_at_most() -> tuple[float, ...]:
    """Returns which share of blocks has no message, one at most, two at most, and so on; at last 1."""
    share, shares = _SHARE_OF_EMPTY, []
    for size in range(_MOST_OF_BLOCK):
        shares.append(share)
        share = share * BLOCK_UNITS / (size + 1)
    return (*itertools.accumulate(shares[:-1]), 1.0)


def arrival_times(pace: LinearPace, seed: int, index: int, of: int) -> Iterator[int]:
    """Yields when the messages of worker `index` of `of` are due before the end of the pace, in order, in ns."""
    process, first = PoissonProcess(seed), 0
    if max(pace.start_hz, pace.end_hz) == 0:
        return
    for block in itertools.count():
        if pace.after_ns(block * BLOCK_UNITS) >= pace.duration_ns:
            return
        for place in process.places(block, first, index, of):
            at_ns = round(pace.after_ns(place))
            if at_ns >= pace.duration_ns:
                return
            yield pace.begin_ns + at_ns
        first += process.size(block)
