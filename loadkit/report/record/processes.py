"""The processes of both ends: workers, their waits and standstills, and the serve end as a whole."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.report import algebra
from loadkit.report.record.amounts import Bytes, Connections
from loadkit.report.record.outcome import Advised
from loadkit.report.record.times import HistogramRecord

__all__ = [
    "Balance",
    "Fairness",
    "ProxyHeaders",
    "ServerRecord",
    "SocketSetting",
    "Standstills",
    "Wakeups",
    "WorkerRecord",
    "WorkerWakeups",
]


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
    as in the run. `port` is where it listened. `proxy_headers` is null if none came.
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
    proxy_headers: Annotated[ProxyHeaders | None, algebra.EITHER] = None


class ProxyHeaders(msgspec.Struct, frozen=True):
    """The PROXY headers that connections of the serve end began with, by version.

    Those of `unknown`, of both versions, name no addresses of TCP: UNKNOWN, LOCAL, or another family.
    """

    v1: Annotated[int, algebra.SUM]
    v2: Annotated[int, algebra.SUM]
    unknown: Annotated[int, algebra.SUM]


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
