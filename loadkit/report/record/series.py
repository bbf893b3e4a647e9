"""A run by its phases, and second by second."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.measure.series import IntervalLatency
from loadkit.report import algebra
from loadkit.report.record.amounts import Bytes, Connections, Messages
from loadkit.report.record.outcome import Advised
from loadkit.report.record.processes import WorkerWakeups
from loadkit.report.record.times import Histograms

__all__ = ["Interval", "PhaseRecord"]


class PhaseRecord(msgspec.Struct, frozen=True):
    """A phase's own figures, under the same names as the run's."""

    name: Annotated[str, algebra.SAME]
    kind: Annotated[str, algebra.SAME]
    duration_ns: Annotated[int, algebra.SAME]
    connections: Annotated[Connections, algebra.EACH]
    messages: Annotated[Messages, algebra.EACH]
    bytes: Annotated[Bytes, algebra.EACH]
    histograms: Annotated[Histograms, algebra.EACH]
    errors: Annotated[tuple[Advised, ...], algebra.rows_by("count")] = ()
    wakeups: Annotated[WorkerWakeups | None, algebra.EACH] = None


class Interval(msgspec.Struct, frozen=True):
    """What happened to the messages and connections of a phase, from `from_s` to `t_s` seconds after the run's start.

    The rows of a phase add up to the phase. Each row is one second long at first; if a run has more than 600 rows,
    neighbours are merged. If a phase ends within a second, each of the two phases has a row with the same times.

    `wakeups` and `events` are the blast end's, `serve_wakeups` and `serve_events` those of an embedded serve end. They
    are null if the engine does not count them. `cwnd` is the mean congestion window, in segments, of the `tcp_samples`
    readings of TCP_INFO. `retransmits` counts those of the watched connections (`tcp.watched`). It is null before the
    measured time, when no connection is watched. `open` counts the connections of all phases that were open at the end
    of the row; of merged rows it is the greatest. `stolen` is the share of this machine's CPU time, `cpu_ticks` of all
    CPUs, that the host took (steal).
    """

    from_s: Annotated[float, algebra.LEAST]
    t_s: Annotated[float, algebra.MOST]
    phase: Annotated[str, algebra.SAME]
    opened: Annotated[int, algebra.SUM]
    replied: Annotated[int, algebra.SUM]
    bytes: Annotated[int, algebra.SUM]
    errors: Annotated[int, algebra.SUM]
    latency: Annotated[IntervalLatency, algebra.EACH]
    wakeups: Annotated[int | None, algebra.SUM] = None
    events: Annotated[int | None, algebra.SUM] = None
    serve_wakeups: Annotated[int | None, algebra.SUM] = None
    serve_events: Annotated[int | None, algebra.SUM] = None
    tcp_samples: Annotated[int, algebra.SUM] = 0
    cwnd: Annotated[float | None, algebra.mean_by("tcp_samples")] = None
    retransmits: Annotated[int | None, algebra.EITHER] = None
    open: Annotated[int | None, algebra.HELD] = None
    cpu_ticks: Annotated[int, algebra.SUM] = 0
    stolen: Annotated[float | None, algebra.mean_by("cpu_ticks")] = None
