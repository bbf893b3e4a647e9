"""The kernel's own view of a run: what it counted, and which of that matters to a reader of the figures.

Each of KERNEL_RULES looks for one thing that went up and should not have, in the ramp or in the measured time, and says
what it means and what to do. EstabResets and OutRsts have no rule, because the blast end closes by reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from loadkit.measure.kernel import KernelSamples
from loadkit.report.record import Finding, Kernel, Party
from loadkit.units import NS_PER_S, format_count, plural, times

__all__ = ["KERNEL_RULES", "KernelRule", "kernel_missing", "kernel_record"]

# Retransmitted segments divided by segments sent: from one in a thousand on they decide p99.9.
RETRANSMITTED = 0.001
# Shares of all CPU time of the machine: in soft interrupts, and taken by the host of a virtual machine.
SOFTIRQ = 0.3
STOLEN = 0.02


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at: the counters of the ramp and of the window, which took `span_ns`.

    `is_local` says that both ends are on this machine.
    """

    ramp: Mapping[str, int]
    window: Mapping[str, int]
    softnet: Mapping[str, int]
    cpu: Mapping[str, float]
    span_ns: int
    is_local: bool

    def counted(self, *names: str) -> tuple[int, int]:
        """Returns how often these counters went up in the ramp, and in the window."""
        before, since = (sum(part.get(name, 0) for name in names) for part in (self.ramp, self.window))
        return before, since


class KernelRule(NamedTuple):
    """`kind` names what it finds, `parties` are those that it may name. `look` returns a text and a party, or None."""

    code: str
    kind: str
    parties: tuple[Party, ...]
    look: Callable[[_Seen], tuple[str, Party] | None]


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
    seen = _Seen(before, samples.counters, samples.softnet, samples.cpu, span_ns, is_local)
    said = [(rule.code, rule.look(seen)) for rule in KERNEL_RULES]
    return Kernel(
        counters={name: count for name, count in samples.counters.items() if count},
        softnet=dict(samples.softnet),
        sockets=dict(samples.sockets),
        cpu={name: round(share, 5) for name, share in samples.cpu.items()},
        ramp={name: count for name, count in before.items() if count},
        findings=tuple(Finding(code, *found) for code, found in said if found),
    )


# -- counters that went up


def _counters(
    code: str, kind: str, noun: str, names: tuple[str, ...], text: str, local: Party, remote: Party = "machine"
) -> KernelRule:
    """Returns the rule of counters of `noun`s. `text` has their number as {n}, and the part of the run as {when}.

    The counters are those of this machine. The cause lies with `local` if both ends are on it, else with `remote`; with
    the machine if only other traffic can have caused it (rules/machine.py).
    """

    def look(seen: _Seen) -> tuple[str, Party] | None:
        before, since = seen.counted(*names)
        if not before and not since:
            return None
        count = times(before + since) if noun == "time" else plural(before + since, noun)
        said = text.format(n=count, when=_when(before, since))
        return said, local if seen.is_local else remote

    return KernelRule(code, kind, tuple(dict.fromkeys((local, remote, "machine"))), look)


def _when(before: int, since: int) -> str:
    if before and since:
        return f"({format_count(before)} in the ramp, {format_count(since)} in the measured time)"
    return "in the ramp" if before else "in the measured time"


def _syn_drops(seen: _Seen) -> tuple[str, Party] | None:
    """SYNs that a listener dropped for another reason than its full accept queue."""
    drops, overflows = seen.counted("TcpExt.ListenDrops"), seen.counted("TcpExt.ListenOverflows")
    before, since = (max(0, all_of_them - full) for all_of_them, full in zip(drops, overflows, strict=True))
    if not before and not since:
        return None
    text = (
        f"a listener dropped {plural(before + since, 'SYN')} {_when(before, since)}. Raise "
        f"net.ipv4.tcp_max_syn_backlog, or lower --connect-rate"
    )
    return text, "target" if seen.is_local else "machine"


def _sent_again(seen: _Seen) -> tuple[str, Party] | None:
    """Segments that this machine retransmitted. On loopback no path drops any: the receiver had no room for them."""
    parts = list(zip(seen.counted("Tcp.RetransSegs"), seen.counted("Tcp.OutSegs"), strict=True))
    before, since = (again if again > RETRANSMITTED * sent else 0 for again, sent in parts)
    if not before and not since:
        return None
    sent = sum(count for (_again, count), shown in zip(parts, (before, since), strict=True) if shown)
    start = (
        f"this machine retransmitted {format_count(before + since)} of {plural(sent, 'segment')} "
        f"{_when(before, since)}: each may cost its message 200 ms or more. "
    )
    if not seen.is_local:
        why = "The path drops packets, or a queue on it is full; `ip -s link` shows the drops on this machine"
        return start + why, "network"
    if any(seen.counted("TcpExt.ListenOverflows")):
        return f"{start}No path drops packets here: an accept queue was full", "target"
    names = ("TCPBacklogDrop", "TCPRcvQDrop", "TCPZeroWindowDrop", "RcvPruned", "PruneCalled")
    if any(seen.counted(*(f"TcpExt.{name}" for name in names))):
        return f"{start}No path drops packets here: a socket's queue was full", "machine"
    why = "No path drops packets here: the receiver acknowledged them too late, or had no room"
    return start + why, "machine"


# -- the machine


def _softnet(seen: _Seen) -> tuple[str, Party] | None:
    """Soft interrupts that dropped packets, or that ran out of their budget more than once per second."""
    lost, squeezed = seen.softnet.get("dropped", 0), seen.softnet.get("squeezed", 0)
    if not lost and squeezed * NS_PER_S <= seen.span_ns:
        return None
    parts = [f"a CPU's full queue dropped {plural(lost, 'packet')}"] if lost else []
    if squeezed:
        parts.append(f"the packets of soft interrupts used up a CPU's budget {times(squeezed)}")
    way_out = "Raise net.core.netdev_max_backlog and netdev_budget, or use more receive queues"
    return f"{', and '.join(parts)}. {way_out}", "machine"


def _softirq(seen: _Seen) -> tuple[str, Party] | None:
    """CPU time of soft interrupts. On loopback they do the receiver's work, so the rule is for targets elsewhere."""
    share = seen.cpu.get("softirq", 0.0)
    if share <= SOFTIRQ or seen.is_local:
        return None
    text = (
        f"{share:.0%} of this machine's CPU time went into the network's soft interrupts. Spread them over more cores "
        f"(RSS or RPS), and pin the workers to other cores"
    )
    return text, "machine"


def _stolen(seen: _Seen) -> tuple[str, Party] | None:
    share = seen.cpu.get("steal", 0.0)
    if share <= STOLEN:
        return None
    text = (
        f"the host took {share:.1%} of this machine's CPU time: the upper percentiles include that. Use a machine with "
        f"dedicated CPUs, or run it again and compare"
    )
    return text, "machine"


KERNEL_RULES = (
    _counters(
        "accept-queue",
        "connections that a full accept queue turned away",
        "time",  # a connection that tries again is counted again
        ("TcpExt.ListenOverflows",),
        "a full accept queue turned a connection away {n} {when}: each costs a second or more until the next try. "
        "Use more serve workers, raise --backlog and net.core.somaxconn, or lower --connect-rate",
        "target",
    ),
    _counters(
        "syn-cookies",
        "connects that got a SYN cookie",
        "connect",
        ("TcpExt.TCPReqQFullDoCookies",),
        "{n} got a SYN cookie {when}, because the SYN queue was full. Raise net.ipv4.tcp_max_syn_backlog, "
        "net.core.somaxconn and --backlog together, or lower --connect-rate",
        "target",
    ),
    _counters(
        "attempt-fails",
        "connects refused or reset before they were established",
        "connect",
        ("Tcp.AttemptFails",),
        "{n} of this machine failed {when}: refused or reset before the connection was established. See the errors",
        "target",
        "target",
    ),
    _counters(
        "backlog-drop",
        "segments dropped for a full socket queue",
        "segment",
        ("TcpExt.TCPBacklogDrop", "TcpExt.TCPRcvQDrop"),
        "a socket's queue was full while its owner was busy, and dropped {n} {when}. Raise net.core.rmem_max and "
        "net.ipv4.tcp_rmem, or use a faster reader",
        "machine",
    ),
    _counters(
        "receive-buffer",
        "receive buffers that overflowed",
        "time",
        ("TcpExt.PruneCalled", "TcpExt.RcvPruned", "TcpExt.TCPZeroWindowDrop"),
        "a receive buffer overflowed {n} {when}: its reader is too slow, or net.ipv4.tcp_rmem is too small",
        "machine",
    ),
    _counters(
        "tcp-memory",
        "TCP out of memory",
        "time",
        ("TcpExt.TCPMemoryPressures", "TcpExt.TCPAbortOnMemory"),
        "TCP ran out of memory {n} {when}, and then shrinks every socket's buffers. Raise net.ipv4.tcp_mem (`loadkit "
        "doctor -c N` prints the line), or keep fewer bytes in flight",
        "machine",
    ),
    _counters(
        "time-wait",
        "TIME_WAITs dropped early",
        "TIME_WAIT",
        ("TcpExt.TCPTimeWaitOverflow",),
        "the kernel dropped {n} early {when}. Raise net.ipv4.tcp_max_tw_buckets, or use --close rst",
        "machine",
    ),
    KernelRule("syn-drops", "SYNs dropped by a listener", ("target", "machine"), _syn_drops),
    KernelRule(
        "retransmits",
        f"more than {100 * RETRANSMITTED:g} % of the segments sent again",
        ("network", "target", "machine"),
        _sent_again,
    ),
    KernelRule("softnet", "packets dropped, or a budget used up, in soft interrupts", ("machine",), _softnet),
    KernelRule("softirq", f"more than {100 * SOFTIRQ:g} % of the CPU time in soft interrupts", ("machine",), _softirq),
    KernelRule("stolen", f"more than {100 * STOLEN:g} % of the CPU time taken by the host", ("machine",), _stolen),
)
