"""Histograms as text: HdrHistogram's V2 encoding in base64, which its libraries read. It has the counters in use."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from loadkit.measure.buckets import DIGITS, MOST_VALUES, Counts, counts_length

__all__ = ["Decode", "add_used", "decode_used", "encode_used"]

# What decodes a histogram: `decode_used`, or what remembers that it has.
Decode = Callable[[str], tuple[int, Counts, Counts]]

# HdrHistogram's V2 encoding (HdrHistogram_c, hdr_histogram_log.c): a frame, and a payload that zlib has compressed.
_FRAME, _PAYLOAD = struct.Struct(">II"), struct.Struct(">IIIIQQd")
_PLAIN, _COMPRESSED = 0x1C849303, 0x1C849304
_COOKIE_BASE, _VERSION = ~0xF0, 0x10
_NINTH = 56  # bits that eight bytes of seven have
_MOST_NS = 2**63 - 1
# A payload with every counter that there can be: no number has more than 9 bytes.
_MOST_INFLATED = _PAYLOAD.size + 9 * counts_length(_MOST_NS)


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


def add_used(several: Iterable[tuple[Counts, Counts]]) -> tuple[Counts, Counts]:
    """Returns the counters above 0 of histograms together, each of which is given by its own, and their counts."""
    parts = [(indices, counts) for indices, counts in several if indices.size]
    sums = np.zeros(max((int(indices[-1]) + 1 for indices, _ in parts), default=0), np.int64)
    for indices, counts in parts:
        sums[indices] += counts
    (used,) = np.nonzero(sums)
    return used, sums[used]


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
