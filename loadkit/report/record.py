"""The record of a run, version 2: its values. The run comes first, then what it is made of.

Names are a promise: what comes later is added, with a higher `minor`, and nothing is renamed. "Not measured" is null,
never 0. Times are integers of nanoseconds, rates floats per second, sizes bytes. Each field has the rule by which it is
merged (algebra.py). reading.py and whole.py read a file of one and refuse other files, writing.py writes it, and
docs/record.md is made from this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from loadkit.measure.series import IntervalLatency
from loadkit.plan.build import Given, Origins
from loadkit.plan.load import Load
from loadkit.plan.placement import Placement
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Target
from loadkit.report import algebra

__all__ = [
    "FORMAT",
    "MINOR",
    "OF_A_SCHEDULE",
    "PERCENTILES",
    "STATES",
    "VERSION",
    "Aborted",
    "Advised",
    "Balance",
    "Bytes",
    "Connecting",
    "Connections",
    "CpuPerReply",
    "Fairness",
    "Finding",
    "HistogramRecord",
    "Histograms",
    "Interval",
    "Journey",
    "Kernel",
    "Memory",
    "Messages",
    "Opening",
    "Party",
    "PhaseRecord",
    "Rates",
    "Reason",
    "RunId",
    "RunRecord",
    "ServerRecord",
    "SloRecord",
    "SocketSetting",
    "Span",
    "Standstills",
    "State",
    "Tail",
    "TcpRecord",
    "Throttling",
    "Tool",
    "Verdict",
    "Wakeups",
    "Window",
    "WorkerRecord",
    "WorkerWakeups",
    "measured",
]

FORMAT = "loadkit-record"
VERSION = 2
# Goes up by one when fields are added to the version. A reader leaves out the keys that it does not know.
MINOR = 2
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999)
# What a closed loop has no histogram of: a message is due when the reply before it was read.
OF_A_SCHEDULE = ("lateness", "held")

# What a reason or a finding names: loadkit's own processes, the target, what lies between them, this machine, or what
# was requested.
Party = Literal["loadkit", "target", "network", "machine", "request"]
State = Literal["valid", "suspect", "invalid"]
STATES: tuple[State, ...] = ("valid", "suspect", "invalid")  # from good to bad


# -- the run


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `messages` and `histograms` are of the measured phases (kind hold), rates and bytes of the window.

    The connections of a run open before its window, in the ramp. So `connections`, `errors` and the histograms connect
    and first_byte are of the whole run without its warm-up phases. `closing_ns` is the time from the end of the traffic
    until every process of both ends had closed its connections and ended.

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


class Aborted(msgspec.Struct, frozen=True):
    """The condition of --abort-on that ended a run: met `at_ns` after the start, with that `value` of the figure.

    `value` is null if the figure was among what had not come back; `reason` says so.
    """

    expr: str
    at_ns: int
    value: int | float | None
    reason: str | None = None


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


# -- what became of it


class Verdict(msgspec.Struct, frozen=True):
    """Whether the run can be trusted: valid, suspect or invalid."""

    state: State
    reasons: tuple[Reason, ...] = ()


class Reason(msgspec.Struct, frozen=True):
    """Why a run is not valid: what was seen, why it matters, and what to do. `party` is where the cause lies."""

    code: str
    text: str
    party: Party = "loadkit"


class Finding(msgspec.Struct, frozen=True):
    """What the target, the network or the machine did with the load: what was seen, and what to do.

    It never changes the verdict. `party` is where the cause lies.
    """

    code: str
    text: str
    party: Party = "machine"


class SloRecord(msgspec.Struct, frozen=True):
    """An objective, the value of its figure (ns, a count, a rate or a share), and whether it was met.

    A value that was not measured, or that too few values support, is null. Then `ok` is false and `reason` says why.
    """

    expr: str
    value: int | float | None
    ok: bool
    reason: str | None = None


class Advised(msgspec.Struct, frozen=True):
    """A kind of error: where it happened, how often, and what to do about it."""

    phase: Annotated[str, algebra.SAME]
    step: Annotated[str, algebra.SAME]
    error: Annotated[str, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    advice: Annotated[str, algebra.FIRST]


# -- how much, and in what time


class Connections(msgspec.Struct, frozen=True):
    """Connects of the run or of a phase. `peak` is the most that were open at once (null for a phase).

    `asked` counts the connects that began. For a whole run it is at least the planned number: connections that did not
    begin, because the ramp was cut short, count as requested too. `at_start` counts the connections that were open,
    with a first reply, when the window began. `lost` counts those that broke later and were not reopened. Both are null
    for a phase, and if the run has no window.
    """

    asked: Annotated[int, algebra.SUM]
    opened: Annotated[int, algebra.SUM]
    failed: Annotated[int, algebra.SUM]
    peak: Annotated[int | None, algebra.HELD]
    closed: Annotated[int, algebra.SUM]
    at_start: Annotated[int | None, algebra.AT_START] = None
    lost: Annotated[int | None, algebra.SUM] = None


class Messages(msgspec.Struct, frozen=True):
    """intended = sent + unsent; sent = replied + failed + unanswered. `waited` counts messages that waited for room.

    Messages count in the phase in which they were intended. In an open loop only scheduled messages count, so the first
    message of each connection does not.
    """

    intended: Annotated[int, algebra.SUM]
    sent: Annotated[int, algebra.SUM]
    replied: Annotated[int, algebra.SUM]
    failed: Annotated[int, algebra.SUM]
    unanswered: Annotated[int, algebra.SUM]
    unsent: Annotated[int, algebra.SUM]
    waited: Annotated[int, algebra.SUM]


class Bytes(msgspec.Struct, frozen=True):
    """Bytes of messages and of replies."""

    sent: Annotated[int, algebra.SUM]
    received: Annotated[int, algebra.SUM]


class Window(msgspec.Struct, frozen=True):
    """The measured stretch, in monotonic ns from the common start of the run.

    Rates are divided by `measured_ns`: the stretch without the phases in it that a profile leaves unmeasured. The
    counts are of what happened between its edges, whatever phase a message belongs to. `opened` counts connections.
    """

    start_ns: Annotated[int, algebra.LEAST]
    end_ns: Annotated[int, algebra.WINDOW_END]
    measured_ns: Annotated[int, algebra.SPAN]
    opened: Annotated[int, algebra.SUM]
    sent: Annotated[int, algebra.SUM]
    replied: Annotated[int, algebra.SUM]
    sent_bytes: Annotated[int, algebra.SUM]
    received_bytes: Annotated[int, algebra.SUM]


class Connecting(msgspec.Struct, frozen=True):
    """What `connects_per_s` is made of: the connections that opened, and the time that they took.

    In churn that is the window. Else it is the ramp, until its last connection had opened or failed. The run's first
    connection is not among them, because it is open when the ramp begins.
    """

    opened: Annotated[int, algebra.SUM]
    duration_ns: Annotated[int, algebra.SPAN]


class Rates(msgspec.Struct, frozen=True):
    """Per second of the window. `connects_per_s` is `connecting.opened` divided by `connecting.duration_ns`."""

    connects_per_s: float | None
    replies_per_s: float | None
    sent_bytes_per_s: float | None
    received_bytes_per_s: float | None


class CpuPerReply(msgspec.Struct, frozen=True):
    """CPU time of an end in the window, divided by the replies in it."""

    user_ns: float
    system_ns: float


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
    of the row; of merged rows it is the greatest.
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


# -- how long it took


class HistogramRecord(msgspec.Struct, frozen=True):
    """A histogram: exact count, sum, min and max; percentiles, null if too few values support one; and all counts.

    `hdr` has the counts in HdrHistogram's base64 V2 encoding. `dropped` counts values outside its range.
    """

    unit: str
    count: int
    sum: int
    min: int | None
    mean: float | None
    max: int | None
    percentiles: dict[str, int | None]
    dropped: int
    hdr: str


# By name; None if it was not measured, and RunRecord.histograms_missing says why.
Histograms = dict[str, HistogramRecord | None]


def measured(histograms: Histograms, name: str) -> HistogramRecord:
    """Returns a histogram that every run has: any but lateness and held, which a closed loop does not have.

    Raises ValueError for one that was not measured.
    """
    found = histograms[name]
    if found is None:
        raise ValueError(f"{name} was not measured")
    return found


# -- the processes of both ends


class WorkerRecord(msgspec.Struct, frozen=True):
    """A worker process.

    CPU times, their shares of the window, context switches and `replied` are of the window. The rest is of the whole
    run. `open` counts the connections that were open when the worker was last read. `died` says how it ended, if it did
    not end well. `is_mid_fold`: it died while it was writing, and its figures may be off by one batch.

    `busy_share` is the part of the window that the worker spent between one wait for events and the next. It is null if
    the engine does not count it. It can be far below `cpu_share`: a worker that polls for some microseconds, rather
    than sleep, uses CPU time without work. `ramp_busy_share` is the same for the time in which the first connections
    opened.
    """

    index: int
    core: int | None
    pid: int | None
    cpu_ns: int | None
    cpu_user_ns: int | None
    cpu_system_ns: int | None
    run_delay_ns: int | None
    opened: int
    peak: int
    replied: int | None
    received_bytes: int | None
    errors: int
    max_rss_bytes: int
    restarts: int
    died: str | None
    cpu_share: float | None = None
    run_delay_share: float | None = None
    sent_bytes: int | None = None
    open: int | None = None
    busy_share: float | None = None
    wakeups: WorkerWakeups | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    standstills: int | None = None
    standstill_ns: int | None = None
    ramp_busy_share: float | None = None
    is_mid_fold: bool = False


class WorkerWakeups(msgspec.Struct, frozen=True):
    """Wake-ups of one worker, or of one phase: the largest batch and the longest turns, without histograms."""

    waits: Annotated[int, algebra.SUM]
    wakeups: Annotated[int, algebra.SUM]
    events: Annotated[int, algebra.SUM]
    blocked_ns: Annotated[int, algebra.SUM]
    busy_ns: Annotated[int, algebra.SUM]
    batch_max: Annotated[int | None, algebra.MOST]
    busy_p99_ns: Annotated[int | None, algebra.NONE_OF_SEVERAL]
    busy_max_ns: Annotated[int | None, algebra.MOST]


class Wakeups(msgspec.Struct, frozen=True):
    """What epoll did in the window, added up over the workers of an end.

    `waits` counts calls of epoll_wait, and `wakeups` those that brought an event. `batch` has the events of each
    wake-up. `flags` counts events by flag, so one with two flags counts twice. `blocked_ns` is the time inside the
    calls, and `busy_ns` the time between them. `busy` has the times between two calls: during such a turn all other
    connections of the worker wait. `probe_events` counts the events of a journey's probes, `probe_wakeups` the wake-ups
    that brought no others. `beats` counts waits that ended only to see whether the worker stands still; they are among
    `waits`.

    `source` says what counted: `native`, the compiled engine itself; `hook`, a hook in the import table of uvloop's
    libuv; `selector`, a selector of loadkit's under asyncio, which does not see ERR, HUP and RDHUP; `uv_metrics`,
    libuv's own metrics, which are approximate: `waits` are turns of the loop. What a source cannot see is null.
    """

    source: Annotated[str, algebra.NAMES]
    waits: Annotated[int, algebra.SUM]
    wakeups: Annotated[int | None, algebra.SUM]
    events: Annotated[int, algebra.SUM]
    batch: Annotated[HistogramRecord | None, algebra.EACH]
    blocked_ns: Annotated[int | None, algebra.SUM]
    busy_ns: Annotated[int | None, algebra.SUM]
    flags: Annotated[dict[str, int | None], algebra.EACH]
    busy: Annotated[HistogramRecord | None, algebra.EACH] = None
    probe_wakeups: Annotated[int | None, algebra.SUM] = None
    probe_events: Annotated[int | None, algebra.SUM] = None
    beats: Annotated[int | None, algebra.SUM] = None


class Standstills(msgspec.Struct, frozen=True):
    """Waits and turns of the blast workers that took more than 10 ms longer than requested, in the measured time.

    The longest one happened in worker `worker` and began `longest_at_ns` after the start of the run; null if there was
    none. In a merged record both values describe the run that had the longest one.
    """

    count: Annotated[int, algebra.SUM]
    sum_ns: Annotated[int, algebra.SUM]
    longest_ns: Annotated[int | None, algebra.MOST]
    longest_at_ns: Annotated[int | None, algebra.of_most("longest_ns")]
    worker: Annotated[int | None, algebra.of_most("longest_ns")]


class ServerRecord(msgspec.Struct, frozen=True):
    """The serve end, if it was loadkit's: of the whole run, but `cpu_ns`, `wakeups` and `unread` are of the window.

    If it was joined from a record of its own, `is_whole_life` is true: everything is from its start to its end.

    `bytes` is null if it ran an app, whose bytes are not counted. `shed` counts the connections that it could not
    accept because file descriptors ran out (EMFILE, ENFILE). `sockets` has the socket options of its first connection,
    as in the run. `port` is where it listened.
    """

    engine: Annotated[str, algebra.NAMES]
    accepted: Annotated[int, algebra.SUM]
    connections: Annotated[Connections, algebra.EACH]
    balance: Annotated[Balance | None, algebra.greatest_by("max_over_mean")]
    bytes: Annotated[Bytes | None, algebra.EACH]
    errors: Annotated[tuple[Advised, ...], algebra.rows_by("count")]
    workers: Annotated[tuple[WorkerRecord, ...], algebra.JOINED]
    restarts: Annotated[int, algebra.SUM]
    cpu_ns: Annotated[int | None, algebra.SUM] = None
    shed: Annotated[int | None, algebra.SUM] = None
    wakeups: Annotated[Wakeups | None, algebra.EACH] = None
    unread: Annotated[HistogramRecord | None, algebra.EACH] = None
    is_whole_life: Annotated[bool, algebra.ANY] = False
    fairness: Annotated[Fairness | None, algebra.EACH] = None
    fairness_missing: Annotated[str | None, algebra.reason_of("fairness")] = None
    sockets: Annotated[dict[str, SocketSetting] | None, algebra.NONE_OF_SEVERAL] = None
    port: Annotated[int | None, algebra.NONE_OF_SEVERAL] = None


class Balance(msgspec.Struct, frozen=True):
    """How evenly SO_REUSEPORT spread the connections: those of the busiest worker divided by the mean.

    With a fair hash, 99 of 100 runs with as many connections stay below `usual`. `replies_max_over_mean` is the same
    ratio for the bytes sent back in the window; null if there were none.
    """

    max_over_mean: float
    usual: float | None = None
    replies_max_over_mean: float | None = None


class Fairness(msgspec.Struct, frozen=True):
    """What each connection got from its beginning on: the `least`, the `most`, and the values of all in `each`.

    At the blast end these are replies, of the connections that were open at the end; replies to a connection's first
    message count. At the serve end these are bytes sent back, of the connections that have ended. `jain` is Jain's
    index: 1 if all got the same, 1/n if one of n got everything, null if no connection got anything.
    """

    connections: int
    least: int | None
    most: int | None
    jain: float | None
    each: HistogramRecord


class SocketSetting(msgspec.Struct, frozen=True):
    """A socket option: what the kernel said of a connection, and where a requested value came from.

    `source` is default (no value was requested), profile, option or `environment LOADKIT_…`.
    """

    value: Annotated[int | str | bool, algebra.FIRST]
    source: Annotated[str, algebra.FIRST]


# -- where the time of a message went


class Journey(msgspec.Struct, frozen=True):
    """Where the time of a message goes, measured by probes: extra connections next to the others.

    `peer` says what answered them. `same_clock`: a serve end of loadkit on this machine. `other_clock`: one on another
    machine; what lies between the two ends is one stage, network. `foreign`: any echo server; all of its end is one
    stage, peer. `stages` are in the order of the way, and add up to `total`, message by message. `shares` are their
    parts of the time of all messages, and `slowest_shares` of the time of the slowest `slowest_count` messages, which
    took `slowest_from_ns` or more (null if there are too few). `tails` has the same by totals, for other percentiles.

    Left out were messages during which a clock was set (`stepped`), whose stamps were not in order (`disordered`), or
    that the kernel did not stamp on all of their way (`unstamped`). `lost` counts probes that ended before the run did.
    """

    peer: Annotated[str, algebra.SAME]
    probes: Annotated[int, algebra.SUM]
    size_bytes: Annotated[int, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    unanswered: Annotated[int, algebra.SUM]
    stepped: Annotated[int, algebra.SUM]
    disordered: Annotated[int, algebra.SUM]
    unstamped: Annotated[int, algebra.SUM]
    lost: Annotated[int, algebra.SUM]
    stages: Annotated[dict[str, HistogramRecord], algebra.TOGETHER]
    total: Annotated[HistogramRecord, algebra.EACH]
    shares: Annotated[dict[str, float], algebra.ANEW]
    slowest_shares: Annotated[dict[str, float] | None, algebra.ANEW]
    slowest_from_ns: Annotated[int | None, algebra.ANEW]
    slowest_count: Annotated[int | None, algebra.ANEW]
    tails: Annotated[tuple[Tail, ...], algebra.ROWS]
    diagnosis: Annotated[str | None, algebra.ANEW] = None


class Tail(msgspec.Struct, frozen=True):
    """Journeys with a total from `from_ns` to that of the next row: their number, and the sum of each stage in ns."""

    from_ns: Annotated[int, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    stages: Annotated[dict[str, int], algebra.TOGETHER]


# -- the machine and its kernel


class Opening(msgspec.Struct, frozen=True):
    """How the connections of the ramp opened, from its start until the last of them had opened or failed.

    `opened` includes the run's first connection, which is open when the ramp begins. `deciles_per_s` is the number of
    connects per second in each tenth of them; null if some did not open, or if there are too few. `stopped` says why
    loadkit stopped opening connections, if it did.
    """

    opened: int
    duration_ns: int
    deciles_per_s: tuple[float, ...] | None
    stopped: str | None = None


class Memory(msgspec.Struct, frozen=True):
    """What `connections` open ones took on this machine when the ramp was over, and what the doctor estimates for them.

    `kernel_bytes` (slab, page tables, TCP's buffers) is for both ends if both are here. `blast_bytes` and `serve_bytes`
    are the growth of their workers' own memory; `serve_bytes` is null if the target is elsewhere. `processes_bytes` is
    what workers and boards take without connections. `used_bytes` is the sum of these.
    """

    connections: int
    kernel_bytes: int
    blast_bytes: int
    serve_bytes: int | None
    processes_bytes: int
    used_bytes: int
    estimated_bytes: int


class Throttling(msgspec.Struct, frozen=True):
    """What the CPU quota of this process's control group did in the window (cpu.stat).

    In `throttled_periods` of the `periods` its processes were stopped, for `throttled_ns` in total, added up over CPUs.
    """

    periods: Annotated[int, algebra.SUM]
    throttled_periods: Annotated[int, algebra.SUM]
    throttled_ns: Annotated[int, algebra.SUM]


class TcpRecord(msgspec.Struct, frozen=True):
    """What the kernel knows of the blast end's connections: `samples` readings of TCP_INFO of some of them, in turn.

    `rtt` and `rttvar` are the kernel's smoothed estimates, `min_rtt` is the least that it saw lately, all in ns;
    `delivery_rate` is in bytes per second. The rest is of the measured time, and of `watched` connections: their
    retransmissions divided by their number, and the shares of their time with unacknowledged bytes in which the peer's
    receive window, or their own send buffer, held them back. Null: this kernel does not report it, or the divisor is 0.
    """

    samples: int
    rtt: HistogramRecord | None
    rttvar: HistogramRecord | None
    min_rtt: HistogramRecord | None
    delivery_rate: HistogramRecord | None
    retransmits_per_connection: float | None
    rwnd_limited_share: float | None
    sndbuf_limited_share: float | None
    findings: tuple[Finding, ...] = ()
    watched: int = 0


class Kernel(msgspec.Struct, frozen=True):
    """What the kernel of this machine counted in the window, for everything that ran there.

    `counters` are those of /proc/net/netstat and /proc/net/snmp that went up. `softnet` has packets dropped for a full
    queue of a CPU, and how often a CPU's budget ran out (squeezed). `sockets` is /proc/net/sockstat at the end of the
    window, with `mem` in pages. `cpu` has shares of all CPU time. `ramp` has the counters of the time before the
    window, in which the first connections opened.
    """

    counters: dict[str, int]
    softnet: dict[str, int]
    sockets: dict[str, int]
    cpu: dict[str, float]
    findings: tuple[Finding, ...]
    ramp: dict[str, int] = {}
