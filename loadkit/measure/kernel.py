"""What this machine's kernel counted over a stretch of time: of TCP, of the network's soft interrupts, of its CPUs.

The counters are those of the whole network namespace (TCP) and machine (softnet, CPU), so other processes are in them.
See the kernel's Documentation/networking/snmp_counter.rst, proc(5), and net/core/net-procfs.c for softnet_stat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadkit.procfs import text_of

__all__ = [
    "COUNTERS",
    "KernelLook",
    "KernelSamples",
    "cpu_ticks",
    "difference",
    "read_kernel",
    "stolen_ticks",
]

# Those of /proc/net/netstat and /proc/net/snmp that matter in a load test.
COUNTERS = (
    "Tcp.ActiveOpens",
    "Tcp.PassiveOpens",
    "Tcp.AttemptFails",  # connects that were refused or reset
    "Tcp.EstabResets",
    "Tcp.InSegs",
    "Tcp.OutSegs",
    "Tcp.RetransSegs",
    "Tcp.InErrs",
    "Tcp.OutRsts",
    "TcpExt.ListenOverflows",  # an accept queue was full
    "TcpExt.ListenDrops",  # SYNs dropped by listeners, for that and every other reason
    "TcpExt.TCPReqQFullDrop",  # a SYN queue was full, and no SYN cookies
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.SyncookiesSent",
    "TcpExt.SyncookiesFailed",
    "TcpExt.TCPBacklogDrop",  # the queue of a socket that its owner had locked was full
    "TcpExt.TCPRcvQDrop",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TCPMemoryPressures",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPAbortOnTimeout",
    "TcpExt.TCPTimeouts",
    "TcpExt.TCPSynRetrans",
    "TcpExt.TCPLostRetransmit",
    "TcpExt.PruneCalled",  # a socket's receive buffer ran over
    "TcpExt.RcvPruned",
    "TcpExt.TCPZeroWindowDrop",
)
# The columns of /proc/stat's first line.
_CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class KernelLook:
    """The counters at one moment, since the machine started. Those that this kernel does not have are left out."""

    counters: Mapping[str, int]
    softnet: Mapping[str, int]
    sockets: Mapping[str, int]
    cpu_ticks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KernelSamples:
    """What came between two readings.

    `counters` are differences of COUNTERS. `softnet` has the packets dropped because a CPU's queue was full, and how
    often a CPU ran out of its budget with packets left (squeezed). `sockets` are those at the end: inuse, orphan, tw,
    alloc, and mem in pages. `cpu` has shares of all CPU time of the machine.
    """

    counters: Mapping[str, int]
    softnet: Mapping[str, int]
    sockets: Mapping[str, int]
    cpu: Mapping[str, float]


def read_kernel(proc: Path = Path("/proc")) -> KernelLook | None:
    """Reads the counters; None if the machine shows no TCP counters. `proc` is another root in tests."""
    rows = {**_tables(proc / "net/snmp"), **_tables(proc / "net/netstat")}
    counters = {name: rows[name] for name in COUNTERS if name in rows}
    if not counters:
        return None
    return KernelLook(counters, _softnet(proc), _sockets(proc), cpu_ticks(proc))


def difference(before: KernelLook, after: KernelLook) -> KernelSamples:
    """Returns what came in between. A counter that went down is left out."""
    ticks = _since(before.cpu_ticks, after.cpu_ticks)
    total = sum(ticks.values())
    return KernelSamples(
        counters=_since(before.counters, after.counters),
        softnet=_since(before.softnet, after.softnet),
        sockets=after.sockets,
        cpu={name: count / total for name, count in ticks.items()} if total else {},
    )


def cpu_ticks(proc: Path = Path("/proc")) -> dict[str, int]:
    """Returns the ticks of all CPUs since the machine started, by what they went into; empty if it does not say."""
    name, *ticks = (text_of(proc / "stat").splitlines() or [""])[0].split() or [""]
    return dict(zip(_CPU, map(int, ticks), strict=False)) if name == "cpu" else {}


def stolen_ticks(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[int, int]:
    """Returns how many ticks of all CPUs there were between two readings, and how many of them the host took."""
    ticks = _since(before, after)
    return sum(ticks.values()), ticks.get("steal", 0)


def _since(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items() if count >= before.get(name, count + 1)}


def _tables(path: Path) -> dict[str, int]:
    """Reads pairs of lines, `Tcp: name name …` and `Tcp: value value …`."""
    lines = [line.split() for line in text_of(path).splitlines()]
    rows: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names and values and names[0] == values[0]:
            rows |= {
                f"{names[0].rstrip(':')}.{name}": int(value)
                for name, value in zip(names[1:], values[1:], strict=False)
                if value.isdigit()
            }
    return rows


def _softnet(proc: Path) -> dict[str, int]:
    """Adds up the lines, one per CPU, of hexadecimal columns: processed, dropped, squeezed first."""
    rows = [line.split() for line in text_of(proc / "net/softnet_stat").splitlines()]
    rows = [row for row in rows if len(row) >= 3]
    if not rows:
        return {}
    return {name: sum(int(row[at], 16) for row in rows) for at, name in ((1, "dropped"), (2, "squeezed"))}


def _sockets(proc: Path) -> dict[str, int]:
    for line in text_of(proc / "net/sockstat").splitlines():
        name, *pairs = line.split()
        if name == "TCP:":
            return {key: int(value) for key, value in zip(pairs[::2], pairs[1::2], strict=False)}
    return {}
