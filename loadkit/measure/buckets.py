"""Which counter a value goes to, in HdrHistogram's own indexing.

A histogram covers 0 to a highest value with 3 significant digits. HdrHistogram (Gil Tene, 2012; the formula is
`countsArrayIndex` of its AbstractHistogram) then has 2,048 sub-buckets, and each bucket after the first uses the upper
1,024 of them: with b = max(0, bit_length(v) - 11), the index of v is 1,024 b + (v >> b).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIGITS",
    "MOST_VALUES",
    "SUB_BUCKETS",
    "Counts",
    "bounds_of",
    "buckets_of",
    "counts_length",
    "highest_of",
    "index_of",
    "lowest_of",
]

DIGITS = 3
_SUB_BITS = 11  # 2,048 sub-buckets resolve 3 significant digits
SUB_BUCKETS = 1 << _SUB_BITS
_HALF = SUB_BUCKETS // 2

Counts = NDArray[np.int64]

# More values than a run can have: a million per second for 285 years. Sums of a thousand such counts fit into 64 bits.
MOST_VALUES = 2**53


def buckets_of(highest_ns: int) -> int:
    """Returns how many buckets a histogram up to `highest_ns` has, as HdrHistogram sizes it."""
    buckets = 1
    smallest_untrackable = SUB_BUCKETS
    while smallest_untrackable <= highest_ns:
        smallest_untrackable <<= 1
        buckets += 1
    return buckets


def counts_length(highest_ns: int) -> int:
    """Returns how many counters a histogram up to `highest_ns` has."""
    return (buckets_of(highest_ns) + 1) * _HALF


def index_of(values: Counts) -> Counts:
    """Returns the counter of each value (nanoseconds, >= 0)."""
    # frexp gives the bit length exactly up to 2^53 ns (104 days).
    bucket = np.frexp((values | (2 * _HALF - 1)).astype(np.float64))[1].astype(np.int64) - _SUB_BITS
    return bucket * _HALF + (values >> bucket)


def lowest_of(index: int) -> int:
    """Returns the least value that counter `index` counts."""
    bucket = max(0, index // _HALF - 1)
    return (index - bucket * _HALF) << bucket


def highest_of(index: int) -> int:
    """Returns the greatest value that counter `index` counts."""
    return lowest_of(index) + (1 << max(0, index // _HALF - 1)) - 1


def bounds_of(indices: Counts) -> tuple[Counts, Counts]:
    """Returns the least and the greatest value that each of these counters counts."""
    bucket = np.maximum(0, indices // _HALF - 1)
    low = (indices - bucket * _HALF) << bucket
    return low, low + (np.int64(1) << bucket) - 1
