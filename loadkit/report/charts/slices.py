"""The rows of a record's series, as the columns of a picture: at most 120, whatever phases there are in each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from loadkit.measure.encoding import Decode, decode_used
from loadkit.report.charts.counted import Counted, counted, joined
from loadkit.report.record import Interval, RunRecord

__all__ = ["SeriesRow", "Slice", "end_of", "series_of", "slices_of"]

MOST = 120
_Number = TypeVar("_Number", int, float)


class SeriesRow(NamedTuple):
    """A row of the series, and its latencies; None if no reply came, or the record has no histogram of them."""

    row: Interval
    latency: Counted | None


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """What happened from `from_s` to `t_s` seconds after the start of the run.

    `latency` is None if no reply came, or the record has no histogram of it; then `p50_ns` and `p99_ns` are its own.
    `open` connections are those at its end, None if the record does not know. `stolen` is the largest share of this
    machine's CPU time that the host took in one of its rows, None if the record does not know.
    """

    from_s: float
    t_s: float
    phases: tuple[str, ...]
    opened: int
    replied: int
    errors: int
    latency: Counted | None
    p50_ns: int | None
    p99_ns: int | None
    max_ns: int | None
    open: int | None
    stolen: float | None

    def per_s(self, count: int) -> float:
        """Returns a count of it as a rate per second."""
        return count / max(1e-3, self.t_s - self.from_s)


def series_of(record: RunRecord, decode: Decode = decode_used) -> list[SeriesRow]:
    """Returns the rows of the record's series that have a length, each decoded once."""
    return [SeriesRow(row, counted(row.latency.hdr, decode)) for row in record.intervals if 0 <= row.from_s < row.t_s]


def slices_of(series: Sequence[SeriesRow], most: int = MOST) -> list[Slice]:
    """Returns the series in no more than so many stretches, in their order; stretches without a row are left out."""
    if not series:
        return []
    start, end = min(row.from_s for row, _ in series), max(row.t_s for row, _ in series)
    usual = sorted(row.t_s - row.from_s for row, _ in series)[len(series) // 2]
    # A stretch is a whole number of rows, or every few of them one would have a row more.
    width = max(usual * max(1, math.ceil((end - start) / usual / most - 1e-6)), (end - start) / most)
    groups: dict[int, list[SeriesRow]] = {}
    for one in series:
        groups.setdefault(int(((one.row.from_s + one.row.t_s) / 2 - start) / width), []).append(one)
    return [_slice(groups[at]) for at in sorted(groups)]


def _slice(several: Sequence[SeriesRow]) -> Slice:
    rows, found = [one.row for one in several], [one.latency for one in several if one.latency]
    latency = joined(found)
    # Rows of an older record have figures and no histogram: of several the worst is taken, and none is made up.
    known = [row.latency for row in rows if row.latency.max is not None]
    is_whole = latency is not None and len(found) == len(known)
    return Slice(
        from_s=min(row.from_s for row in rows),
        t_s=max(row.t_s for row in rows),
        phases=tuple(dict.fromkeys(row.phase for row in rows)),
        opened=sum(row.opened for row in rows),
        replied=sum(row.replied for row in rows),
        errors=sum(row.errors for row in rows),
        latency=latency if is_whole else None,
        p50_ns=latency.percentile("50") if latency and is_whole else _most(row.p50 for row in known),
        p99_ns=latency.percentile("99") if latency and is_whole else _most(row.p99 for row in known),
        max_ns=_most(row.max for row in known),
        open=next((row.open for row in reversed(rows) if row.open is not None), None),
        stolen=_most(row.stolen for row in rows),
    )


def _most(values: Iterable[_Number | None]) -> _Number | None:
    return max((value for value in values if value is not None), default=None)


def end_of(slices: Sequence[Slice]) -> float:
    """Returns when the last of them ends, in seconds."""
    return max(one.t_s for one in slices)
