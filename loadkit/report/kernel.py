"""The kernel's own view of a run: what it counted, and which of that matters to a reader of the figures.

There is a finding if a counter went up that should not have, in the ramp or in the measured time: _RULES has these
counters, with what they mean and what to do. There are findings about SYNs dropped for another reason than a full
accept queue, about more than RETRANSMITTED of the segments sent again, and about more than STOLEN of the CPU time taken
by the host. Soft interrupts have one if they drop packets, run out of their budget more than once per second, or take
more than SOFTIRQ of the CPU time while the target is elsewhere: on loopback they do the receiver's work. EstabResets
and OutRsts have none, because the blast end closes by reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from loadkit.measure.kernel import KernelSamples
from loadkit.report.record import Finding, Kernel, Party
from loadkit.units import NS_PER_S, format_count, plural

__all__ = ["CODES", "kernel_missing", "kernel_record"]

RETRANSMITTED = 0.001
SOFTIRQ = 0.3
STOLEN = 0.02


class _Counted(NamedTuple):
    """Counters of `noun`s, {n}, what they mean and what to do; {when} says in which part of the run they went up.

    The counters are those of this machine: `local` is whose doing they are if both ends are on it, else it is `remote`.
    """

    code: str
    counters: tuple[str, ...]
    noun: str
    text: str
    local: Party
    remote: Party = "machine"


_RULES = (
    _Counted(
        "accept-queue",
        ("TcpExt.ListenOverflows",),
        "time",  # a connection that tries again is counted again
        "a full accept queue turned a connection away {n} {when}: each costs a second or more until the next try. "
        "Use more serve workers, raise --backlog and net.core.somaxconn, or lower --connect-rate",
        "target",
    ),
    _Counted(
        "syn-cookies",
        ("TcpExt.TCPReqQFullDoCookies",),
        "connect",
        "{n} got a SYN cookie {when}, because the SYN queue was full. Raise net.ipv4.tcp_max_syn_backlog, "
        "net.core.somaxconn and --backlog together, or lower --connect-rate",
        "target",
    ),
    _Counted(
        "attempt-fails",
        ("Tcp.AttemptFails",),
        "connect",
        "{n} of this machine failed {when}: refused or reset before the connection was established. See the errors",
        "target",
        "target",
    ),
    _Counted(
        "backlog-drop",
        ("TcpExt.TCPBacklogDrop", "TcpExt.TCPRcvQDrop"),
        "segment",
        "a socket's queue was full while its owner was busy, and dropped {n} {when}. Raise net.core.rmem_max and "
        "net.ipv4.tcp_rmem, or use a faster reader",
        "machine",
    ),
    _Counted(
        "receive-buffer",
        ("TcpExt.PruneCalled", "TcpExt.RcvPruned", "TcpExt.TCPZeroWindowDrop"),
        "time",
        "a receive buffer overflowed {n} {when}: its reader is too slow, or net.ipv4.tcp_rmem is too small",
        "machine",
    ),
    _Counted(
        "tcp-memory",
        ("TcpExt.TCPMemoryPressures", "TcpExt.TCPAbortOnMemory"),
        "time",
        "TCP ran out of memory {n} {when}, and then shrinks every socket's buffers. Raise net.ipv4.tcp_mem (`loadkit "
        "doctor -c N` prints the line), or keep fewer bytes in flight",
        "machine",
    ),
    _Counted(
        "time-wait",
        ("TcpExt.TCPTimeWaitOverflow",),
        "TIME_WAIT",
        "the kernel dropped {n} early {when}. Raise net.ipv4.tcp_max_tw_buckets, or use --close rst",
        "machine",
    ),
)
# Every code that a finding of the kernel's may have, with what it says in a word or two and its parties.
CODES: Mapping[str, tuple[str, tuple[Party, ...]]] = {
    "accept-queue": ("connections that a full accept queue turned away", ("target", "machine")),
    "syn-cookies": ("connects that got a SYN cookie", ("target", "machine")),
    "attempt-fails": ("connects refused or reset before they were established", ("target", "machine")),
    "backlog-drop": ("segments dropped for a full socket queue", ("machine",)),
    "receive-buffer": ("receive buffers that overflowed", ("machine",)),
    "tcp-memory": ("TCP out of memory", ("machine",)),
    "time-wait": ("TIME_WAITs dropped early", ("machine",)),
    "syn-drops": ("SYNs dropped by a listener", ("target", "machine")),
    "retransmits": ("more than 0.1 % of the segments sent again", ("network", "target", "machine")),
    "softnet": ("packets dropped, or a budget used up, in soft interrupts", ("machine",)),
    "softirq": ("more than 30 % of the CPU time in soft interrupts", ("machine",)),
    "stolen": ("more than 2 % of the CPU time taken by the host", ("machine",)),
}


def kernel_missing(has_window: bool) -> str:
    """Returns why a run has no kernel counters."""
    return "neither /proc/net nor /proc/stat could be read" if has_window else "nothing was measured"


def kernel_record(
    samples: KernelSamples | None, span_ns: int, is_local: bool, ramp: KernelSamples | None = None
) -> Kernel | None:
    """Returns what the kernel counted in `span_ns`, and in the ramp before; None if the counters were not read.

    `is_local` says that both ends are on this machine.
    """
    if samples is None:
        return None
    before = ramp.counters if ramp else {}
    return Kernel(
        counters={name: count for name, count in samples.counters.items() if count},
        softnet=dict(samples.softnet),
        sockets=dict(samples.sockets),
        cpu={name: round(share, 5) for name, share in samples.cpu.items()},
        ramp={name: count for name, count in before.items() if count},
        findings=(*_counted(before, samples.counters, is_local), *_of_the_machine(samples, span_ns, is_local)),
    )


def _counted(ramp: Mapping[str, int], window: Mapping[str, int], is_local: bool) -> Iterator[Finding]:
    for rule in _RULES:
        before, since = (sum(part.get(name, 0) for name in rule.counters) for part in (ramp, window))
        if before or since:
            text = rule.text.format(n=plural(before + since, rule.noun), when=_when(before, since))
            yield Finding(rule.code, text, rule.local if is_local else rule.remote)
    before, since = map(_other_drops, (ramp, window))
    if before or since:
        yield Finding(
            "syn-drops",
            f"a listener dropped {plural(before + since, 'SYN')} {_when(before, since)}. Raise "
            f"net.ipv4.tcp_max_syn_backlog, or lower --connect-rate",
            "target" if is_local else "machine",
        )
    yield from _sent_again(ramp, window, is_local)


def _when(before: int, since: int) -> str:
    if before and since:
        return f"({format_count(before)} in the ramp, {format_count(since)} in the measured time)"
    return "in the ramp" if before else "in the measured time"


def _other_drops(counters: Mapping[str, int]) -> int:
    """SYNs that a listener dropped for another reason than its full accept queue."""
    return max(0, counters.get("TcpExt.ListenDrops", 0) - counters.get("TcpExt.ListenOverflows", 0))


def _sent_again(ramp: Mapping[str, int], window: Mapping[str, int], is_local: bool) -> Iterator[Finding]:
    parts = [(part.get("Tcp.RetransSegs", 0), part.get("Tcp.OutSegs", 0)) for part in (ramp, window)]
    before, since = (again if again > RETRANSMITTED * sent else 0 for again, sent in parts)
    if not before and not since:
        return
    sent = sum(count for (_again, count), shown in zip(parts, (before, since), strict=True) if shown)
    start = (
        f"this machine retransmitted {format_count(before + since)} of {plural(sent, 'segment')} "
        f"{_when(before, since)}: each costs its message 200 ms or more. "
    )
    if not is_local:
        yield Finding(
            "retransmits",
            f"{start}The path drops packets, or a queue on it is full; `ip -s link` shows the drops on this machine",
            "network",
        )
        return
    # Loopback loses nothing on the way: what is dropped there, the receiver has no room for.
    queues = [(part.get("TcpExt.ListenOverflows", 0), _dropped(part)) for part in (ramp, window)]
    overflows, drops = (sum(one) for one in zip(*queues, strict=True))
    if overflows:
        yield Finding("retransmits", f"{start}No path drops packets here: an accept queue was full", "target")
    elif drops:
        yield Finding("retransmits", f"{start}No path drops packets here: a socket's queue was full", "machine")
    else:
        yield Finding(
            "retransmits",
            f"{start}No path drops packets here: the receiver acknowledged them too late, or had no room",
            "machine",
        )


def _dropped(counters: Mapping[str, int]) -> int:
    names = ("TCPBacklogDrop", "TCPRcvQDrop", "TCPZeroWindowDrop", "RcvPruned", "PruneCalled")
    return sum(counters.get(f"TcpExt.{name}", 0) for name in names)


def _of_the_machine(samples: KernelSamples, span_ns: int, is_local: bool) -> Iterator[Finding]:
    lost, squeezed = samples.softnet.get("dropped", 0), samples.softnet.get("squeezed", 0)
    if lost or squeezed * NS_PER_S > span_ns:
        yield Finding(
            "softnet",
            f"a CPU's full queue dropped {plural(lost, 'packet')}, and its budget ran out {plural(squeezed, 'time')}. "
            f"Raise net.core.netdev_max_backlog and netdev_budget, or use more receive queues",
        )
    softirq, stolen = samples.cpu.get("softirq", 0.0), samples.cpu.get("steal", 0.0)
    if softirq > SOFTIRQ and not is_local:
        yield Finding(
            "softirq",
            f"{softirq:.0%} of this machine's CPU time went into the network's soft interrupts. Spread them over more "
            f"cores (RSS or RPS), and pin the workers to other cores",
        )
    if stolen > STOLEN:
        yield Finding(
            "stolen",
            f"the host took {stolen:.1%} of this machine's CPU time: the upper percentiles include that. Use a machine "
            f"with dedicated CPUs, or run it again and compare",
        )
