"""Where the time of a message goes: the stages of its way, into a record and as a waterfall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadkit.measure.histogram import LEAST_ABOVE
from loadkit.measure.names import JOURNEY_SOURCES, STAGE, STAGES
from loadkit.measure.samples import PhaseSamples, WorkerSamples
from loadkit.report.histograms import histogram_record
from loadkit.report.page import Column, Table, share_or_dash, time_or_dash
from loadkit.report.record import HistogramRecord, Journey, Tail
from loadkit.units import format_count, format_duration, plural

__all__ = [
    "STAGE_WORDS",
    "journey_line",
    "journey_missing",
    "journey_record",
    "journey_table",
    "slowest",
    "tail_from",
    "with_shares",
]

PEERS = ("same_clock", "other_clock", "foreign")

# The words for a stage in the waterfall, in the order of the way.
STAGE_WORDS = {
    "held": "behind an earlier message of its connection",
    "late": "blast: due, until its loop wrote it",
    "send": "kernel: through TCP/IP",
    "queue": "kernel: queueing discipline, to the driver",
    "there": "network: to the serve end's socket",
    "serve_busy": "serve: unread, its loop busy with others",
    "serve_wake": "serve: unread, its loop waking up",
    "serve_batch": "serve: unread, its turn in the batch",
    "serve_code": "serve: its code, from read to write",
    "back": "kernel and network: back",
    "network": "network: there and back",
    "peer": "network and peer",
    "busy": "blast: unread, its loop busy with others",
    "wake": "blast: unread, its loop waking up",
    "batch": "blast: unread, its turn in the batch",
    "read": "blast: read",
}
_MISSING = {
    "not_opened": "the target did not echo a probe's first message of 47 bytes within a second",
    "no_stamps": "the kernel, or a sandbox in front of it, refuses SO_TIMESTAMPING (gVisor does, seccomp may)",
    "no_waits": "this engine does not show when it waits for events: the hook in uvloop's import table found no entry",
    "not_compiled": "the compiled part is missing: install loadkit again with a C compiler and Python's headers",
    "refused": "the serve end refuses probes from this address: start it with `loadkit serve --probes`",
    "full": "the serve end already answers as many probes as it can: use fewer workers (-w), or more there",
    "no_echo": "only an echo server can be asked for it: to others a probe's first message is an error",
    "none": "no worker had a connection to send a probe next to",
}


def journey_missing(workers: Sequence[WorkerSamples]) -> str:
    """Returns why these workers have no journey, although one was requested."""
    sources = [_source(worker) for worker in workers]
    reasons = [source for source in sources if source not in PEERS]
    return _MISSING[reasons[0]] if reasons else "no probe's message was replied to in the measured time"


def _source(worker: WorkerSamples) -> str:
    return JOURNEY_SOURCES[worker.state["journey_source"]]


def journey_record(workers: Sequence[WorkerSamples], hold: PhaseSamples, size_bytes: int) -> Journey | None:
    """Returns what the workers' probes measured in `hold`, all measured phases; None if they measured nothing."""
    sources = [source for source in map(_source, workers) if source in PEERS]
    if not sources or not hold.tails[:, 0].sum():
        return None
    names = [name for name in STAGES if hold.histograms[STAGE + name].count]
    records = {name: histogram_record(hold.histograms[STAGE + name], hold.dropped[STAGE + name]) for name in names}
    total = records.pop("total")
    counters = hold.counters
    return with_shares(
        Journey(
            peer=sources[0],
            probes=sum(worker.phases[0].counters["probes"] for worker in workers),
            size_bytes=size_bytes,
            count=total.count,
            unanswered=counters["probes_unanswered"],
            stepped=counters["journeys_stepped"],
            disordered=counters["journeys_disordered"],
            unstamped=counters["journeys_unstamped"],
            lost=counters["probes_lost"],
            stages=records,
            total=total,
            shares={},
            slowest_shares=None,
            slowest_from_ns=None,
            slowest_count=None,
            tails=tuple(_tails(hold.tails, [name for name in names if name != "total"])),
        )
    )


def tail_from(row: int) -> int:
    """Returns the least total of a row of tails, in ns: rows are quarters of an octave (engine/native/probes.c)."""
    return row if row < 4 else (4 + row % 4) << (row // 4 - 1)


def _tails(rows: NDArray[np.int64], names: Sequence[str]) -> Iterator[Tail]:
    for row in np.flatnonzero(rows[:, 0]):
        sums = {name: int(rows[row, 1 + STAGES.index(name)]) for name in names}
        yield Tail(tail_from(int(row)), int(rows[row, 0]), sums)


def with_shares(journey: Journey) -> Journey:
    """Returns the journey with the shares of its stages worked out anew, from its sums."""
    tail = slowest(journey)
    return msgspec.structs.replace(
        journey,
        shares=_shares({name: one.sum for name, one in journey.stages.items()}),
        slowest_shares=_shares(_sums(tail)) if tail else None,
        slowest_from_ns=tail[0].from_ns if tail else None,
        slowest_count=sum(row.count for row in tail) if tail else None,
    )


def slowest(journey: Journey) -> tuple[Tail, ...]:
    """Returns the rows of the slowest hundredth, or tenth if it has fewer than ten; empty if the tenth has too."""
    for part in (0.01, 0.1):
        wanted = journey.count * part
        if wanted < LEAST_ABOVE:
            continue
        count = 0
        for at in range(len(journey.tails) - 1, -1, -1):
            count += journey.tails[at].count
            if count >= wanted:
                return journey.tails[at:]
    return ()


def _sums(rows: Sequence[Tail]) -> dict[str, int]:
    return {name: sum(row.stages[name] for row in rows) for name in rows[0].stages}


def _shares(sums: Mapping[str, int]) -> dict[str, float]:
    total = sum(sums.values())
    return {name: one / total if total else 0.0 for name, one in sums.items()}


# -- in words


def journey_table(journey: Journey) -> Table:
    """Returns the waterfall, one row for each stage that took half a per cent of the time or more."""
    tail = f"{format_count(journey.slowest_count)} slowest" if journey.slowest_count else ""
    numbers = (Column("p50", 8), Column("p99", 8), Column("share", 6), Column(tail, 14))
    rows = []
    for name, stage in journey.stages.items():
        share, late = journey.shares[name], (journey.slowest_shares or {}).get(name)
        if share >= 0.005 or (late or 0) >= 0.005:
            rows.append((STAGE_WORDS.get(name, name), *_times(stage), share_or_dash(share), share_or_dash(late)))
    rows.append(("total", *_times(journey.total), "", _from(journey)))
    return Table((Column("", 44, is_text=True, gap=2), *numbers), tuple(rows))


def _times(histogram: HistogramRecord) -> tuple[str, str]:
    return time_or_dash(histogram.percentiles["50"]), time_or_dash(histogram.percentiles["99"])


def _from(journey: Journey) -> str:
    return f"from {format_duration(journey.slowest_from_ns)}" if journey.slowest_from_ns is not None else ""


def journey_line(journey: Journey) -> str:
    """Says what was measured, and what was left out."""
    who = {
        "same_clock": "a serve end on this machine",
        "other_clock": "a serve end on another machine: its stamps are its own clock's, so the network is one stage",
        "foreign": "an echo that is not loadkit's: all of it is one stage",
    }.get(journey.peer, journey.peer)
    parts = [
        (journey.unanswered, "unanswered"),
        (journey.stepped, "left out because a clock was set"),
        (journey.disordered, "left out because their stamps were not in order"),
        (journey.unstamped, "left out because the kernel did not stamp all of their way"),
    ]
    less = "".join(f", {format_count(count)} {what}" for count, what in parts if count)
    lost = f"; {plural(journey.lost, 'probe')} ended before the run did" if journey.lost else ""
    count, probes = plural(journey.count, "message"), plural(journey.probes, "probe")
    return f"{count} of {probes}, answered by {who}{less}{lost}"
