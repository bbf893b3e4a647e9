"""The kernel's own view of a run: what it counted, and what of that matters to who reads the figures.

A finding is a counter that went up and should not have: _RULES has them, with what they mean and what to do. Beside
those: SYNs dropped for another reason than a full accept queue, more than a thousandth of the segments sent again, soft
interrupts that drop packets, run out of their budget more than once a second, or take more than three tenths of the CPU
time (of a target elsewhere: on loopback they do the receiver's work), and more than a fiftieth of it taken by the host.
EstabResets and OutRsts are none: the blast end closes by reset.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.measure.kernel import KernelSamples
from loadkit.report.record import Finding, Kernel
from loadkit.units import NS_PER_S, format_count

__all__ = ["kernel_missing", "kernel_record"]

RETRANSMITTED = 0.001
SOFTIRQ = 0.3
STOLEN = 0.02

# (code, the counters that add up to {n}, what they mean and what to do)
_RULES = (
    (
        "accept-queue",
        ("TcpExt.ListenOverflows",),
        "{n} connections came to a full accept queue and waited a second or more for their next try: more serve "
        "workers, a longer --backlog with net.core.somaxconn, or a lower --connect-rate",
    ),
    (
        "syn-cookies",
        ("TcpExt.TCPReqQFullDoCookies",),
        "{n} connects got a SYN cookie, for the SYN queue was full: net.ipv4.tcp_max_syn_backlog, net.core.somaxconn "
        "and --backlog together, or a lower --connect-rate",
    ),
    (
        "attempt-fails",
        ("Tcp.AttemptFails",),
        "{n} connects of this machine were refused or reset before they were established: see the errors",
    ),
    (
        "backlog-drop",
        ("TcpExt.TCPBacklogDrop", "TcpExt.TCPRcvQDrop"),
        "{n} segments were dropped because a socket's queue was full while its owner was busy: net.core.rmem_max and "
        "net.ipv4.tcp_rmem, or a faster reader",
    ),
    (
        "receive-buffer",
        ("TcpExt.PruneCalled", "TcpExt.RcvPruned", "TcpExt.TCPZeroWindowDrop"),
        "a receive buffer ran over {n} times: its reader is too slow, or net.ipv4.tcp_rmem too small",
    ),
    (
        "tcp-memory",
        ("TcpExt.TCPMemoryPressures", "TcpExt.TCPAbortOnMemory"),
        "TCP came to the end of its memory {n} times, and cuts every socket's buffers then: net.ipv4.tcp_mem (`loadkit "
        "doctor -c N` has the line), or fewer bytes under way",
    ),
    (
        "time-wait",
        ("TcpExt.TCPTimeWaitOverflow",),
        "{n} TIME_WAITs were forgotten early: net.ipv4.tcp_max_tw_buckets, or --close rst",
    ),
)


def kernel_missing(has_window: bool) -> str:
    """Returns why there is none of a run."""
    return "none of /proc/net and /proc/stat could be read" if has_window else "nothing was measured"


def kernel_record(
    samples: KernelSamples | None, span_ns: int, is_local: bool, ramp: KernelSamples | None = None
) -> Kernel | None:
    """Returns what the kernel counted in `span_ns`; None where it was not looked at.

    `is_local` says that both ends are on this machine.
    """
    if samples is None:
        return None
    return Kernel(
        counters={name: count for name, count in samples.counters.items() if count},
        softnet=dict(samples.softnet),
        sockets=dict(samples.sockets),
        cpu={name: round(share, 5) for name, share in samples.cpu.items()},
        ramp={name: count for name, count in ramp.counters.items() if count} if ramp else {},
        findings=(*_counted(samples), *_of_the_machine(samples, span_ns, is_local)),
    )


def _counted(samples: KernelSamples) -> Iterator[Finding]:
    counters = samples.counters
    for code, names, text in _RULES:
        count = sum(counters.get(name, 0) for name in names)
        if count:
            yield Finding(code, text.format(n=format_count(count)))
    dropped = counters.get("TcpExt.ListenDrops", 0) - counters.get("TcpExt.ListenOverflows", 0)
    if dropped > 0:
        yield Finding(
            "syn-drops",
            f"{format_count(dropped)} SYNs were dropped by a listener: net.ipv4.tcp_max_syn_backlog, or a lower "
            f"--connect-rate",
        )
    sent, again = counters.get("Tcp.OutSegs", 0), counters.get("Tcp.RetransSegs", 0)
    if again > RETRANSMITTED * sent:
        yield Finding(
            "retransmits",
            f"{format_count(again)} of {format_count(sent)} segments were sent again: each costs its message 200 ms or "
            f"more. The path drops packets, or a queue on it is full: `ip -s link` shows where on this machine",
        )


def _of_the_machine(samples: KernelSamples, span_ns: int, is_local: bool) -> Iterator[Finding]:
    lost, squeezed = samples.softnet.get("dropped", 0), samples.softnet.get("squeezed", 0)
    if lost or squeezed * NS_PER_S > span_ns:
        yield Finding(
            "softnet",
            f"{format_count(lost)} packets were dropped because a CPU's queue was full, and its budget ran out "
            f"{format_count(squeezed)} times: net.core.netdev_max_backlog and netdev_budget, or more receive queues",
        )
    softirq, stolen = samples.cpu.get("softirq", 0.0), samples.cpu.get("steal", 0.0)
    if softirq > SOFTIRQ and not is_local:
        yield Finding(
            "softirq",
            f"{softirq:.0%} of this machine's CPU time went into the network's soft interrupts: RSS or RPS over more "
            f"cores, and workers on others than those",
        )
    if stolen > STOLEN:
        yield Finding(
            "stolen",
            f"{stolen:.1%} of this machine's CPU time was taken by its host: the upper percentiles are partly that. A "
            f"machine with CPUs of its own, or repeat the run and compare",
        )
