"""The machine and its kernel: the ramp, memory, the CPU quota, and what the kernel counted."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.report import algebra
from loadkit.report.record.outcome import Finding
from loadkit.report.record.times import HistogramRecord

__all__ = ["Kernel", "Memory", "Opening", "TcpRecord", "Throttling"]


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
