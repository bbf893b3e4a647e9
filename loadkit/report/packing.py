"""A record as it stands inside a page: its JSON and the counts of its histograms, deflated together, in base 85.

Most of a record is its histograms, and each is deflated by itself already, so that the whole cannot be deflated any
more. Here they are taken out of the JSON, and their counters are written as numbers that take few bits (rice.py). What
is packed is, one behind the other:

    the JSON on one line, with `~` in place of each `hdr` that is taken out, and `~3` for one that stood there before,
    as number 3 from 0;
    a line with [highest_ns, counters in use] of each of them, as JSON; behind these two may be the numbers of others:
    it is their sum, less the counters that are its own. A phase is the sum of its rows in the series, and less the
    messages that were not disturbed it is `disturbed`. Others have a lower number, or are no sums;
    of all of them, in turn, how many counters of 0 are before each one in use; then what each of these has, less 1.

A histogram comes back with the same counts, encoded by loadkit and deflated by the zlib of the one who reads the page:
as it was, if both wrote the record. Counts are whole numbers on all of the way, and none is rounded. What cannot be
decoded, or is too much, stays in the JSON as it is.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadkit.measure.buckets import MOST_VALUES, counts_length
from loadkit.measure.encoding import Decode, add_used, decode_used, encode_used
from loadkit.report import base85, rice

__all__ = ["packed", "unpacked"]

# A quotation mark inside a text of JSON has a backslash before it, so both are a field wherever they stand.
_FIELD = re.compile(r'(?<="hdr":)"([A-Za-z0-9+/=]+)"')
_MARK = re.compile(rb'(?<="hdr":)~([0-9]*)')
# Several times as many as an hour's page has.
_MOST_HISTOGRAMS, _MOST_COUNTERS = 4_000, 3_000_000
_HIGHEST = counts_length(2**63 - 1)

_Numbers = NDArray[np.int64]


class _Used(NamedTuple):
    """A histogram: the counters in use, and what they have."""

    highest_ns: int
    indices: _Numbers
    counts: _Numbers


def packed(text: str, sums: Mapping[str, Sequence[str]] = {}, decode: Decode = decode_used) -> str:
    """Returns a record's JSON, which is one line, as text without `<`.

    `sums` has encoded histograms, and others whose sum each of them may be, or most of it.
    """
    found = _taken_out(text, decode)
    seen: dict[str, int] = {}

    def mark(field: re.Match[str]) -> str:
        if field[1] not in found:
            return field[0]
        if field[1] in seen:
            return f"~{seen[field[1]]}"
        seen[field[1]] = len(seen)
        return "~"

    lean = _FIELD.sub(mark, text).encode()
    rests = _rests(found, sums)
    own = {name: rests.get(name, one) for name, one in found.items()}
    heads = [
        [one.highest_ns, one.indices.size, *(seen[part] for part in (sums[name] if name in rests else ()))]
        for name, one in own.items()
    ]
    data = zlib.compress(b"\n".join((lean, msgspec.json.encode(heads), _as_bytes(own.values()))))
    return base85.encode(data)


def unpacked(text: bytes, most_bytes: int) -> bytes:
    """Returns the JSON that `packed` had. Raises ValueError for another text, and for one of more than `most_bytes`."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base85.decode(text), most_bytes)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflater.eof or data.count(b"\n") < 2:
        raise ValueError("it is cut off, or has too much in it")
    lean, heads, numbers = data.split(b"\n", 2)
    histograms = [encode_used(*one).encode() for one in _histograms(_heads(heads), numbers)]
    return b"".join(_pieces(lean, histograms, most_bytes))


# -- taken out


def _taken_out(text: str, decode: Decode) -> dict[str, _Used]:
    """Returns the histograms of a record by their encodings, in the order in which they come first."""
    found: dict[str, _Used] = {}
    room = _MOST_COUNTERS
    for encoded in dict.fromkeys(_FIELD.findall(text)):
        try:
            histogram = _Used(*decode(encoded))
        except ValueError:
            continue
        if histogram.indices.size <= room and len(found) < _MOST_HISTOGRAMS:
            found[encoded] = histogram
            room -= histogram.indices.size
    return found


def _rests(found: Mapping[str, _Used], sums: Mapping[str, Sequence[str]]) -> dict[str, _Used]:
    """Returns what the sums have more than the histograms that may be them, for those that it is less to write of."""
    rests: dict[str, _Used] = {}
    before: set[str] = set()
    for name, one in found.items():
        parts = sums.get(name, ())
        if parts and all(part in found and (part not in sums or part in before) for part in parts):
            several = [found[part] for part in parts]
            if sum(part.indices.size for part in several) <= _MOST_COUNTERS // 2:
                rest = _without(_sum_of(one.highest_ns, several), one)
                if rest is not None and rest.indices.size < one.indices.size:
                    rests[name] = rest
        before.add(name)
    return rests


def _sum_of(highest_ns: int, several: Sequence[_Used]) -> _Used:
    return _Used(highest_ns, *add_used((one.indices, one.counts) for one in several))


def _without(whole: _Used, part: _Used) -> _Used | None:
    """Returns the whole without a part of it; None if it is no part of it."""
    if _length(part) > _length(whole):
        return None
    counts = np.zeros(_length(whole), np.int64)
    counts[whole.indices] = whole.counts
    counts[part.indices] -= part.counts
    (used,) = np.nonzero(counts)
    return _Used(whole.highest_ns, used, counts[used]) if counts.min(initial=0) >= 0 else None


def _length(one: _Used) -> int:
    return int(one.indices[-1]) + 1 if one.indices.size else 0


def _as_bytes(histograms: Collection[_Used]) -> bytes:
    gaps = [np.diff(one.indices, prepend=-1) - 1 for one in histograms]
    return rice.as_bytes(np.concatenate([np.zeros(0, np.int64), *gaps, *(one.counts - 1 for one in histograms)]))


# -- put back


def _heads(text: bytes) -> list[list[int]]:
    if text.count(b",") > 10 * _MOST_HISTOGRAMS:
        raise ValueError("too many histograms")
    try:
        heads = msgspec.json.decode(text, type=list[list[int]])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if any(len(head) < 2 or not 2 <= head[0] < 2**63 or min(head[1:]) < 0 for head in heads):
        raise ValueError("a histogram of another range, or of less than no counters")
    return heads


def _histograms(heads: Sequence[Sequence[int]], data: bytes) -> list[_Used]:
    sizes = [size for _, size, *_ in heads]
    total = sum(sizes)
    if total > _MOST_COUNTERS:
        raise ValueError("too many counters")
    numbers = rice.numbers_of(data, 2 * total)
    gaps, counts = numbers[:total], numbers[total:] + 1
    if total and (gaps.max() > _HIGHEST or counts.max() > MOST_VALUES):
        raise ValueError("a counter that no histogram has")
    found = []
    for (highest_ns, *_), size, end in zip(heads, sizes, itertools.accumulate(sizes), strict=True):
        found.append(_Used(highest_ns, np.cumsum(gaps[end - size : end] + 1) - 1, counts[end - size : end]))
    _add_up(heads, found)
    if any(_length(one) > counts_length(one.highest_ns) or one.counts.sum() > MOST_VALUES for one in found):
        raise ValueError("a counter that no histogram has")
    return found


def _add_up(heads: Sequence[Sequence[int]], found: list[_Used]) -> None:
    """Puts the sums in the places of what they have more than their histograms."""
    room = _MOST_COUNTERS
    for number, ((highest_ns, _, *parts), rest) in enumerate(zip(heads, tuple(found), strict=True)):
        if not parts:
            continue
        if not all(part < number or (part < len(found) and len(heads[part]) == 2) for part in parts):
            raise ValueError("a sum of histograms that are not there")
        room -= sum(found[part].indices.size for part in parts)
        one = _without(_sum_of(highest_ns, [found[part] for part in parts]), rest) if room >= 0 else None
        if one is None:
            raise ValueError("too many counters, or a sum that has less than is its own")
        found[number] = one


def _pieces(lean: bytes, histograms: Sequence[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yields the JSON in pieces with the histograms in their places, as long as there is room for them."""
    room, at, begin = most_bytes - len(lean), 0, 0
    for mark in _MARK.finditer(lean):
        number = int(mark[1]) if mark[1] else at
        at += not mark[1]
        if number >= len(histograms) or room < 0:
            raise ValueError("it refers to a histogram that it does not have, or has too much in it")
        room -= len(histograms[number]) + 2
        yield b'%b"%b"' % (lean[begin : mark.start()], histograms[number])
        begin = mark.end()
    yield lean[begin:]
