"""A run: the whole of its record, and what tells it from other runs."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from loadkit.plan.build import Given, Origins
from loadkit.plan.load import Load
from loadkit.plan.placement import Placement
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Target
from loadkit.report import algebra
from loadkit.report.record.amounts import Bytes, Connecting, Connections, CpuPerReply, Messages, Rates, Window
from loadkit.report.record.journey import Journey
from loadkit.report.record.machine import Kernel, Memory, Opening, TcpRecord, Throttling
from loadkit.report.record.outcome import Aborted, Advised, Finding, SloRecord, Verdict
from loadkit.report.record.processes import (
    Fairness,
    ServerRecord,
    SocketSetting,
    Standstills,
    Wakeups,
    WorkerRecord,
)
from loadkit.report.record.series import Interval, PhaseRecord
from loadkit.report.record.times import HistogramRecord, Histograms

__all__ = ["FORMAT", "MINOR", "VERSION", "RunId", "RunRecord", "Span", "Tool"]

FORMAT = "loadkit-record"
VERSION = 2
# Goes up by one when fields are added to the version. A reader leaves out the keys that it does not know.
MINOR = 3


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `messages` and `histograms` are of the measured phases (kind hold), rates and bytes of the window.

    The connections of a run open before its window, in the ramp. So `connections`, `errors` and the histograms connect,
    handshake and first_byte are of the whole run without its warm-up phases. `closing_ns` is the time from the end of
    the traffic until every process of both ends had closed its connections and ended.

    `unread` is how long received bytes stayed in the receive buffers, from the kernel's stamp until they were read, for
    one read in sixteen (--stamps rx). `sockets` has the socket options of the blast end by name: what the kernel said
    of the first connection after its first reply. The kernel doubles the requested sizes of buffers, and bounds them.

    A value that was to be measured and is null has its reason in the `_missing` beside it; `histograms_missing` and
    `cpu_per_reply_missing` have reasons by name. `opening`, `memory` and `closing_ns` have one in merged records only.

    Of the `merged` runs in a record, `in_a_row` followed one another. The others ran side by side with these. `tags`
    are the notes of --tag. A merged record keeps those that all runs have with the same value; `tags_missing` has the
    keys of the others, and why.

    `interrupted` names the signal that ended the run early, and `aborted` has the condition of --abort-on that did.
    `stranded_ns` is the time from the start of the run until its last connection was gone, if no other could open.
    `findings` are all findings, with those of `kernel` and `tcp`.
    """

    format: Annotated[str, algebra.SAME] = FORMAT
    version: Annotated[int, algebra.SAME] = VERSION
    minor: Annotated[int, algebra.MOST] = MINOR
    partial: Annotated[bool, algebra.ANY]
    interrupted: Annotated[str | None, algebra.LEAST] = None
    aborted: Annotated[tuple[Aborted, ...], algebra.JOINED] = ()
    stranded_ns: Annotated[int | None, algebra.MOST] = None
    merged: Annotated[int, algebra.SUM] = 1
    in_a_row: Annotated[int, algebra.SPAN] = 1
    run: Annotated[RunId, algebra.ANEW]
    started: Annotated[str, algebra.EARLIEST]
    tool: Annotated[Tool, algebra.EACH]
    target: Annotated[Target, algebra.FIRST]
    load: Annotated[Load, algebra.FIRST]
    placements: Annotated[tuple[Placement, ...], msgspec.Meta(min_length=1), algebra.JOINED]
    origins: Annotated[Origins, algebra.FIRST]
    given: Annotated[Given, algebra.FIRST]
    tags: Annotated[dict[str, str], algebra.TAGS] = {}
    tags_missing: Annotated[dict[str, str], algebra.LOST_TAGS] = {}
    host: Annotated[dict[str, Any], algebra.FIRST]
    verdict: Annotated[Verdict, algebra.ANEW]
    findings: Annotated[tuple[Finding, ...], algebra.ANEW] = ()
    slo: Annotated[tuple[SloRecord, ...], algebra.OBJECTIVES]
    connections: Annotated[Connections, algebra.EACH]
    messages: Annotated[Messages, algebra.EACH]
    bytes: Annotated[Bytes, algebra.EACH]
    errors: Annotated[tuple[Advised, ...], algebra.rows_by("count")]
    window: Annotated[Window | None, algebra.EITHER]
    rates: Annotated[Rates, algebra.ANEW]
    connecting: Annotated[Connecting | None, algebra.EITHER] = None
    opening: Annotated[Opening | None, algebra.NONE_OF_SEVERAL] = None
    opening_missing: Annotated[str | None, algebra.reason_of("opening")] = None
    memory: Annotated[Memory | None, algebra.NONE_OF_SEVERAL] = None
    memory_missing: Annotated[str | None, algebra.reason_of("memory")] = None
    closing_ns: Annotated[int | None, algebra.NONE_OF_SEVERAL] = None
    sockets: Annotated[dict[str, SocketSetting] | None, algebra.NONE_OF_SEVERAL] = None
    sockets_missing: Annotated[str | None, algebra.reason_of("sockets")] = None
    closing_missing: Annotated[str | None, algebra.reason_of("closing_ns")] = None
    cpu_per_reply_ns: Annotated[dict[str, CpuPerReply | None], algebra.ANEW]
    cpu_per_reply_missing: Annotated[dict[str, str], algebra.ANEW] = {}
    histograms: Annotated[Histograms, algebra.EACH]
    histograms_missing: Annotated[dict[str, str], algebra.UNION] = {}
    disturbed: Annotated[HistogramRecord | None, algebra.EACH] = None
    stood: Annotated[int | None, algebra.SUM] = None
    standstills: Annotated[Standstills | None, algebra.EACH] = None
    throttling: Annotated[Throttling | None, algebra.EITHER] = None
    wakeups: Annotated[Wakeups | None, algebra.EACH] = None
    wakeups_missing: Annotated[str | None, algebra.reason_of("wakeups")] = None
    unread: Annotated[HistogramRecord | None, algebra.EACH] = None
    unread_missing: Annotated[str | None, algebra.reason_of("unread")] = None
    journey: Annotated[Journey | None, algebra.COMMON] = None
    journey_missing: Annotated[str | None, algebra.reason_of("journey")] = None
    kernel: Annotated[Kernel | None, algebra.NONE_OF_SEVERAL] = None
    kernel_missing: Annotated[str | None, algebra.reason_of("kernel")] = None
    fairness: Annotated[Fairness | None, algebra.EACH] = None
    fairness_missing: Annotated[str | None, algebra.reason_of("fairness")] = None
    tcp: Annotated[TcpRecord | None, algebra.NONE_OF_SEVERAL] = None
    tcp_missing: Annotated[str | None, algebra.reason_of("tcp")] = None
    phases: Annotated[tuple[PhaseRecord, ...], algebra.EACH]
    workers: Annotated[tuple[WorkerRecord, ...], algebra.JOINED]
    intervals: Annotated[tuple[Interval, ...], algebra.SERIES]
    server: Annotated[ServerRecord | None, algebra.SERVE_END]

    @property
    def serve(self) -> ServePlan | None:
        """The embedded serve end as it was planned; None for a target elsewhere."""
        return self.placements[0].serve

    @property
    def port(self) -> int | None:
        """Where the target listened; None if it is not known. An embedded server has its port once it is up."""
        return self.target.port or (self.server.port if self.server else None)

    @property
    def fallback(self) -> str | None:
        """Why `--engine auto` did not take a faster engine; None if it did, or an engine was named."""
        return next((one.fallback for one in self.placements if one.fallback), None)


class RunId(msgspec.Struct, frozen=True):
    """Which run this is, by a random name. A merged record has the names of its runs in `of`, their windows in `spans`.

    The id of a merged record is made from those of its runs, so the same runs have the same id.
    """

    id: str
    of: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()


class Span(msgspec.Struct, frozen=True):
    """A stretch of wall-clock time, RFC 3339."""

    start: str
    end: str


class Tool(msgspec.Struct, frozen=True):
    """What made the record. `uvloop` is its version if uvloop was the engine, or ran the loop around it."""

    loadkit: Annotated[str, algebra.NAMES]
    python: Annotated[str, algebra.NAMES]
    uvloop: Annotated[str | None, algebra.NAMES]
    engine: Annotated[str, algebra.NAMES]
