"""What epoll did: how often it was called, how often it woke the worker up, and with how many events at once."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from loadkit.measure.buckets import counts_length, highest_of
from loadkit.measure.histogram import Histogram
from loadkit.measure.names import WAKEUP_SOURCES
from loadkit.measure.samples import PhaseSamples

__all__ = ["FLAGS", "WakeupSamples", "add_wakeups", "read_wakeups"]

# epoll_wait returns at most 1,024 events per call here and in libuv, and up to 2,047 each counter has a single value.
_HIGHEST = highest_of(counts_length(0) - 1)
_COUNTS = ("waits", "wakeups", "events", "blocked_ns", "busy_ns", "probe_wakeups", "probe_events", "beats")
FLAGS = {"IN": "events_in", "OUT": "events_out", "ERR": "events_err", "HUP": "events_hup", "RDHUP": "events_rdhup"}


@dataclass(frozen=True, eq=False, slots=True)
class WakeupSamples:
    """Calls of epoll_wait, the calls that brought events, the events, and the times inside and between the calls.

    `flags` counts events by flag, so an event with two flags counts twice. `batch` has the events of each wake-up,
    `busy` the times between a return and the next call. `probe_events` counts the events of a journey's probes,
    `probe_wakeups` the wake-ups that brought no others; both are among the rest. So are `beats`, waits that ended only
    to see whether the worker stands still. `source` is one of WAKEUP_SOURCES. What it cannot see is 0.
    """

    source: str
    waits: int
    wakeups: int
    events: int
    blocked_ns: int
    busy_ns: int
    flags: Mapping[str, int]
    batch: Histogram
    busy: Histogram
    probe_wakeups: int
    probe_events: int
    beats: int


def read_wakeups(source: int, after: PhaseSamples, before: PhaseSamples | None = None) -> WakeupSamples | None:
    """Returns what came since `before`, an earlier reading of the same slot; None if the engine does not count.

    `source` is the worker's `wakeup_source`.
    """
    if not source or not after.counters["waits"]:
        return None
    was = before.counters if before else dict.fromkeys(after.counters, 0)
    batch = after.histograms["batch"].counts[: counts_length(0)].copy()
    busy = after.histograms["busy"]
    if before:
        batch -= before.histograms["batch"].counts[: counts_length(0)]
        busy = busy.since(before.histograms["busy"])
    since = {name: after.counters[name] - was[name] for name in (*_COUNTS, *FLAGS.values())}
    return WakeupSamples(
        source=WAKEUP_SOURCES[source],
        **{name: since[name] for name in _COUNTS},
        flags={flag: since[name] for flag, name in FLAGS.items()},
        batch=_histogram(batch, since["events"]),
        busy=busy,
    )


def add_wakeups(parts: Iterable[WakeupSamples | None]) -> WakeupSamples | None:
    """Adds up the wake-ups of several workers; None if no worker counted them."""
    known = [part for part in parts if part]
    if not known:
        return None
    return WakeupSamples(
        source=known[0].source,
        **{name: sum(getattr(part, name) for part in known) for name in _COUNTS},
        flags={flag: sum(part.flags[flag] for part in known) for flag in FLAGS},
        batch=_histogram(np.sum([part.batch.counts for part in known], axis=0), sum(part.events for part in known)),
        busy=functools.reduce(Histogram.merge, (part.busy for part in known)),
    )


def _histogram(counts: np.ndarray[tuple[int], np.dtype[np.int64]], total: int) -> Histogram:
    (used,) = np.nonzero(counts)
    low, high = (int(used[0]), int(used[-1])) if used.size else (0, 0)
    return Histogram(_HIGHEST, counts, total, low, high)
