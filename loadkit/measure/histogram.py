"""HDR histograms as plain arrays of counts, in HdrHistogram's own indexing.

A histogram here covers 0 to a highest value with 3 significant digits. HdrHistogram (Gil Tene, 2012; the formula is
`countsArrayIndex` of its AbstractHistogram) then has 2,048 sub-buckets, and each bucket after the first uses the upper
1,024 of them: with b = max(0, bit_length(v) - 11), the index of v is 1,024 b + (v >> b). So HdrHistogram's libraries
read what `encode` returns. The tests compare it with one of them.
"""

from __future__ import annotations

import base64
import functools
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIGITS",
    "SUB_BUCKETS",
    "Histogram",
    "bounds_of",
    "buckets_of",
    "counts_length",
    "decode_used",
    "encode_used",
    "highest_of",
    "index_of",
    "lowest_of",
    "percentiles_supported",
    "rank_of",
    "values_needed",
]

DIGITS = 3
_SUB_BITS = 11  # 2,048 sub-buckets resolve 3 significant digits
SUB_BUCKETS = 1 << _SUB_BITS
_HALF = SUB_BUCKETS // 2

Counts = NDArray[np.int64]

# More values than a run can have: a million per second for 285 years. Sums of a thousand such counts fit into 64 bits.
MOST_VALUES = 2**53

# HdrHistogram's V2 encoding (HdrHistogram_c, hdr_histogram_log.c): a frame, and a payload that zlib has compressed.
_FRAME, _PAYLOAD = struct.Struct(">II"), struct.Struct(">IIIIQQd")
_PLAIN, _COMPRESSED = 0x1C849303, 0x1C849304
_COOKIE_BASE, _VERSION = ~0xF0, 0x10
_NINTH = 56  # bits that eight bytes of seven have
_MOST_NS = 2**63 - 1

# A percentile is given if at least this many values lie above it. With fewer it is one unlucky message.
LEAST_ABOVE = 10


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


# A payload with every counter that there can be: no number has more than 9 bytes.
_MOST_INFLATED = _PAYLOAD.size + 9 * counts_length(_MOST_NS)


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


def rank_of(count: int, percentile: float | str) -> int:
    """Returns which of `count` sorted values, from 1, is the percentile: the least with that part at or below it."""
    return max(1, math.ceil(_share(percentile) * count))


def percentiles_supported(count: int, percentile: float | str) -> bool:
    """Whether `count` samples can say anything of `percentile`: LEAST_ABOVE lie above it, or it is the median."""
    share = _share(percentile)
    return count > 0 and (2 * share <= 1 or count * (1 - share) >= LEAST_ABOVE)


def values_needed(percentile: float | str) -> int:
    """Returns the least count that supports `percentile`, which is below 100."""
    share = _share(percentile)
    return 1 if 2 * share <= 1 else math.ceil(LEAST_ABOVE / (1 - share))


def decode_used(encoded: str) -> tuple[int, Counts, Counts]:
    """Returns what HdrHistogram's base64 V2 encoding has: the highest value, the counters above 0, and their counts.

    Raises ValueError for another encoding. Takes at most 2 MB of memory, whatever it inflates to.
    """
    try:
        text = _inflate(base64.b64decode(encoded, validate=True))
        cookie, length, offset, digits, lowest, highest_ns, _ratio = _PAYLOAD.unpack_from(text)
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"not an HdrHistogram V2: {error}") from None
    if cookie & _COOKIE_BASE != _PLAIN or _PAYLOAD.size + length != len(text):
        raise ValueError("not an HdrHistogram V2: another payload")
    if (digits, lowest, offset) != (DIGITS, 1, 0) or not 2 <= highest_ns <= _MOST_NS:
        raise ValueError("not a histogram of loadkit's: another range or precision")
    return highest_ns, *_used(text[_PAYLOAD.size :], counts_length(highest_ns))


def encode_used(highest_ns: int, indices: Counts, counts: Counts) -> str:
    """Returns HdrHistogram's base64 V2 encoding of counters in their order, all of which are above 0."""
    gaps = np.diff(indices, prepend=-1) - 1
    words = np.column_stack((-gaps, counts)).ravel()  # a number of counters of 0 is negative
    text = _packed(words[words != 0])
    payload = _PAYLOAD.pack(_PLAIN | _VERSION, len(text), 0, DIGITS, 1, highest_ns, 1.0) + text
    packed = zlib.compress(payload)
    return base64.b64encode(_FRAME.pack(_COMPRESSED | _VERSION, len(packed)) + packed).decode()


def _inflate(packed: bytes) -> bytes:
    cookie, length = _FRAME.unpack_from(packed)
    if cookie & _COOKIE_BASE != _COMPRESSED or _FRAME.size + length != len(packed):
        raise ValueError("another frame")
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed[_FRAME.size :], _MOST_INFLATED)
    if not inflater.eof:
        raise ValueError("it is cut off, or inflates to more than all counters that there can be")
    return text


def _used(text: bytes, length: int) -> tuple[Counts, Counts]:
    """Returns the counters of a payload that are not 0. A number below 0 stands for that number of counters of 0."""
    words = _words(text)
    if not words.size:
        return words, words
    values = words[words > 0]
    # Sums of integers that are too large turn over. Sums of floats do not, and are exact enough to say so.
    is_too_much = float(values.sum(dtype=np.float64)) > 2 * MOST_VALUES or int(values.sum()) > MOST_VALUES
    if words.min() < -length or is_too_much:
        raise ValueError("not a histogram of loadkit's: it has too many counters, or values")
    ends = np.cumsum(np.where(words < 0, -words, 1))
    if ends[-1] > length:
        raise ValueError("not a histogram of loadkit's: it has too many counters")
    return ends[words > 0] - 1, values


def _words(text: bytes) -> Counts:
    """Returns the numbers of a ZigZag LEB128 encoding of 64 bits, in which a ninth byte has eight bits of its number.

    Ours have eight bytes at most: those are read all at once, for a record of an hour has 600 histograms.
    """
    data = np.frombuffer(text, np.uint8)
    (ends,) = np.nonzero(data < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if not ends.size or ends[-1] != data.size - 1 or (ends - starts).max() >= _NINTH // 7:
        return np.fromiter(_words_one_by_one(text), np.int64)
    shifts = 7 * (np.arange(data.size) - np.repeat(starts, ends - starts + 1))
    parts = (data & 0x7F).astype(np.int64) << shifts
    values = np.bitwise_or.reduceat(parts, starts)
    return (values >> 1) ^ -(values & 1)


def _words_one_by_one(text: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in text:
        if shift < _NINTH and byte & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            continue
        value |= byte << shift
        yield (value >> 1) ^ -(value & 1)
        value = shift = 0
    if shift:
        raise ValueError("not an HdrHistogram V2: it ends within a number")


def _packed(words: Counts) -> bytes:
    """Returns numbers below 2^55 in ZigZag LEB128: all at once, because a record has dozens of histograms."""
    if not words.size:
        return b""
    values = (words << 1) ^ (words >> 63)
    most = max(1, -(-int(values.max()).bit_length() // 7))
    shifted = values[:, np.newaxis] >> (7 * np.arange(most))
    is_there = shifted > 0
    is_there[:, 0] = True
    parts = (shifted & 0x7F) | np.where(shifted > 0x7F, 0x80, 0)
    return parts[is_there].astype(np.uint8).tobytes()


@functools.cache
def _share(percentile: float | str) -> Fraction:
    """Returns the percentile as a part of 1, exactly as it is written.

    99.9 / 100 is no float: the nearest is too high, so that 0.999 of 20 million was one rank above 19,980,000.
    """
    return Fraction(str(percentile)) / 100


@functools.cache
def _zeros(length: int) -> Counts:
    """Returns counters of 0: 200 KB and more, and of a run's histograms most are empty."""
    counts = np.zeros(length, np.int64)
    counts.setflags(write=False)
    return counts


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """Counts with their exact sum, minimum and maximum. Merging is adding; the empty one is its identity.

    `count` is the number of values, added up once: that takes as long as a merge.
    """

    highest_ns: int
    counts: Counts
    sum_ns: int = 0
    min_ns: int = 0
    max_ns: int = 0
    count: int = field(init=False)

    def __post_init__(self) -> None:
        is_empty = self.counts is _zeros(len(self.counts))
        object.__setattr__(self, "count", 0 if is_empty else int(self.counts.sum()))

    @classmethod
    def empty(cls, highest_ns: int) -> Histogram:
        """Returns the histogram of nothing. All of one range have the same counters, which cannot be written."""
        return cls(highest_ns, _zeros(counts_length(highest_ns)))

    @classmethod
    def of(cls, values: Iterable[int], highest_ns: int) -> Histogram:
        """Returns the histogram of `values` (nanoseconds). Raises ValueError for one outside 0 … highest_ns."""
        array = np.fromiter(values, np.int64)
        if not array.size:
            return cls.empty(highest_ns)
        if array.min() < 0 or array.max() > highest_ns:
            raise ValueError(f"a value lies outside 0 … {highest_ns} ns")
        counts = np.bincount(index_of(array), minlength=counts_length(highest_ns))
        return cls(highest_ns, counts, sum(array.tolist()), int(array.min()), int(array.max()))

    @classmethod
    def decode(cls, encoded: str, sum_ns: int) -> Histogram:
        """Reads base64 V2 as `encode` writes it. Raises ValueError for another text.

        The package hdrhistogram cannot read files from elsewhere: it inflates without bound, and 146 kB took 225 MiB
        (0.10.8).
        """
        highest_ns, used, values = decode_used(encoded)
        if not used.size:
            return replace(cls.empty(highest_ns), sum_ns=sum_ns)
        counts = np.zeros(counts_length(highest_ns), np.int64)
        counts[used] = values
        return cls(highest_ns, counts, sum_ns, lowest_of(int(used[0])), highest_of(int(used[-1])))

    @property
    def mean_ns(self) -> float:
        """The arithmetic mean from the exact sum; 0 when empty."""
        return self.sum_ns / self.count if self.count else 0.0

    def merge(self, other: Histogram) -> Histogram:
        """Returns the histogram of both ones' values. Raises ValueError for another range."""
        if self.highest_ns != other.highest_ns:
            raise ValueError(f"histograms of unlike range: highest_ns {self.highest_ns} and {other.highest_ns}")
        if not other.count:
            return self
        if not self.count:
            return other
        if self.count + other.count > MOST_VALUES:
            raise ValueError("together they have more values than can be counted")
        return Histogram(
            self.highest_ns,
            self.counts + other.counts,
            self.sum_ns + other.sum_ns,
            min(self.min_ns, other.min_ns),
            max(self.max_ns, other.max_ns),
        )

    def widened(self, highest_ns: int) -> Histogram:
        """Returns the same values with a higher end of the range; the counters of the values stay the same.

        Raises ValueError for an end that is lower.
        """
        more = counts_length(highest_ns) - len(self.counts)
        if highest_ns < self.highest_ns:
            raise ValueError(f"a histogram up to {self.highest_ns} cannot end at {highest_ns}")
        return replace(self, highest_ns=highest_ns, counts=np.pad(self.counts, (0, more)) if more else self.counts)

    def since(self, before: Histogram) -> Histogram:
        """Returns what was added after `before`, an earlier reading of the same histogram.

        Its extremes are known only to their counters.
        """
        counts = np.maximum(self.counts - before.counts, 0)
        (used,) = np.nonzero(counts)
        if not used.size:
            return Histogram.empty(self.highest_ns)
        low, high = lowest_of(int(used[0])), highest_of(int(used[-1]))
        return Histogram(self.highest_ns, counts, self.sum_ns - before.sum_ns, low, high)

    def percentiles(self, wanted: Iterable[float]) -> Mapping[float, int | None]:
        """Returns the value at each percentile; None if the count cannot support it.

        As in HdrHistogram the value is the greatest that its counter counts, and never above the exact maximum.
        """
        total = self.count
        ranks = {one: rank_of(total, one) for one in wanted}
        return {one: self.at_rank(rank) if percentiles_supported(total, one) else None for one, rank in ranks.items()}

    def at_rank(self, rank: int) -> int:
        """Returns the value of that rank among all, from 1 for the least. Raises ValueError for another rank."""
        running = np.cumsum(self.counts)
        if not 1 <= rank <= running[-1]:
            raise ValueError(f"there is no value number {rank} of {running[-1]}")
        return min(highest_of(int(np.searchsorted(running, rank))), self.max_ns)

    def encode(self) -> str:
        """Returns HdrHistogram's base64 V2 encoding, readable by every HdrHistogram library."""
        if not self.count:
            return _encoded_empty(self.highest_ns)
        (used,) = np.nonzero(self.counts)
        return encode_used(self.highest_ns, used, self.counts[used])


@functools.cache
def _encoded_empty(highest_ns: int) -> str:
    nothing = np.zeros(0, np.int64)
    return encode_used(highest_ns, nothing, nothing)
