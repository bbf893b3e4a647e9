"""What an error means, by step and name: its cause, what to do, and where it lies. All texts in one place.

Only what the error itself says stands here: what else is known of a run is for the verdict to put beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from loadkit.report.record import Advised, Party

__all__ = ["EXHAUSTED", "Known", "advise", "explain", "main_error", "say_cause"]


@dataclass(frozen=True, slots=True)
class Known:
    """An error: its cause, to follow a colon after a number of connections or messages; what to do; whose it is."""

    cause: str
    advice: str
    party: Party


# Errors that say that this machine has run out of something; no target can do that.
EXHAUSTED = ("EADDRNOTAVAIL", "EADDRINUSE", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")

_ANY = ""  # stands for each step that has no row of its own

_TABLE: dict[tuple[str, str], Known] = {
    # -- of this machine
    ("connect", "EADDRNOTAVAIL"): Known(
        "all local ports towards that address are in use",
        "more addresses with --source CIDR, a wider net.ipv4.ip_local_port_range, or --close rst",
        "machine",
    ),
    ("connect", "EADDRINUSE"): Known(
        "the local port is in use",
        "more addresses with --source CIDR, a wider net.ipv4.ip_local_port_range, or --close rst",
        "machine",
    ),
    (_ANY, "EADDRINUSE"): Known(
        "another socket has the address and port", "`ss -tanp` shows which: stop its process, or wait", "machine"
    ),
    (_ANY, "EMFILE"): Known(
        "a process is out of file descriptors",
        "a higher limit (ulimit -n, LimitNOFILE=, docker --ulimit nofile=), or more workers",
        "machine",
    ),
    (_ANY, "ENFILE"): Known(
        "the machine is out of file descriptors", "sysctl -w fs.file-max=1000000, or fewer connections", "machine"
    ),
    (_ANY, "ENOMEM"): Known(
        "the kernel has no memory left", "`loadkit doctor -c N` has the calculation; fewer connections", "machine"
    ),
    (_ANY, "ENOBUFS"): Known(
        "the kernel has no memory left for sockets",
        "a larger net.ipv4.tcp_mem, fewer connections, or smaller messages",
        "machine",
    ),
    ("connect", "EPERM"): Known(
        "a firewall of this machine, or a full conntrack table, refused the packet",
        "see `iptables -S`, and `conntrack -S` for a full table",
        "machine",
    ),
    (_ANY, "EPERM"): Known("a firewall of this machine refused the packet", "see `iptables -S`", "machine"),
    (_ANY, "EACCES"): Known(
        "a firewall or security policy of this machine forbids it",
        "see `iptables -S`, and the log of SELinux or AppArmor",
        "machine",
    ),
    # -- of what lies between
    (_ANY, "EHOSTUNREACH"): Known(
        "no answer from that host, says a router or this machine's kernel",
        "`ip neigh` and `ip route get ADDRESS` show how far it gets",
        "network",
    ),
    (_ANY, "ENETUNREACH"): Known(
        "this machine has no route to that network", "`ip route get ADDRESS` says what it would take", "network"
    ),
    ("connect", "CONNECT_TIMEOUT"): Known(
        "no answer to the SYN within --connect-timeout",
        "its accept queue may be full, or a firewall drops the packets: a lower --connect-rate, a longer backlog",
        "target",
    ),
    ("connect", "ETIMEDOUT"): Known(
        "the kernel gave up on the SYN",
        "packets are dropped on the way, by a firewall perhaps, or the target's accept queue is full",
        "target",
    ),
    (_ANY, "ETIMEDOUT"): Known(
        "the kernel had no acknowledgement for minutes", "the peer or the path to it is gone", "network"
    ),
    # -- of the target
    ("connect", "ECONNREFUSED"): Known(
        "the target refused: nothing listens there (any more)",
        "start the server, or correct the address and port; its log says why it ended, if it did",
        "target",
    ),
    ("connect", "ECONNRESET"): Known(
        "the target reset them as they opened",
        "a full accept queue (a longer backlog, a lower --connect-rate), or a limit of the server's own: see its log",
        "target",
    ),
    (_ANY, "NOT_ACCEPTED"): Known(
        "the target's accept queue is full",
        "this kernel had them open, the target acknowledged nothing: a longer backlog with net.core.somaxconn, more "
        "accepting threads or processes, or a lower --connect-rate",
        "target",
    ),
    ("connect", "AT_LIMIT"): Known(
        "turned away by --max-connections",
        "a higher --max-connections of the serve end, or fewer connections",
        "target",
    ),
    ("connect", "RUN_ENDED"): Known(
        "they were still connecting when the run ended", "a lower --connect-rate, or a longer --duration", "target"
    ),
    ("close", "CUT"): Known(
        "still open when the serve end ended: it cut them",
        "a longer --grace, or clients that close first",
        "target",
    ),
    ("receive", "APP_FAILED"): Known(
        "the app that was served raised an exception", "its standard error has the first of each", "target"
    ),
    ("receive", "WRONG_BYTES"): Known(
        "the reply was not what was sent", "the target is no echo server, or an echo server with a bug", "target"
    ),
    ("receive", "EXTRA_BYTES"): Known(
        "more came back than was sent", "the target is no echo server, or an echo server with a bug", "target"
    ),
    ("receive", "REPLY_TIMEOUT"): Known(
        "no reply within --timeout",
        "the server is stuck, or the load is too high for it: a lower --rate, or a longer --timeout",
        "target",
    ),
    (_ANY, "CLOSED_BY_PEER"): Known(
        "the target closed them",
        "a limit or an idle time-out of the server's own, or it ended: see its log",
        "target",
    ),
    (_ANY, "ECONNRESET"): Known(
        "the target reset them", "it crashed, or closed with bytes unread: see its log", "target"
    ),
    (_ANY, "EPIPE"): Known(
        "the target had closed them already",
        "a limit or an idle time-out of the server's own, or it ended: see its log",
        "target",
    ),
    (_ANY, "UNKNOWN"): Known(
        "the event loop gave no error number",
        "run once with --engine asyncio, and report it with both records",
        "target",
    ),
}

# The same errors seen from the serve end, whose peer is the blast end.
_AT_SERVE: dict[str, Known] = {
    "CLOSED_BY_PEER": Known(
        "the client closed it before its replies were out", "see what the client says of its errors", "network"
    ),
    "ECONNRESET": Known("the client reset it", "it ended, or closes by reset (blast --close rst)", "network"),
    "EPIPE": Known("the client had closed it already", "see what the client says of its errors", "network"),
}


def explain(step: str, name: str) -> Known:
    """Returns what is known of error `name` of `step`, seen from the blast end."""
    return (
        _TABLE.get((step, name))
        or _TABLE.get((_ANY, name))
        or Known(f"{name} at the step {step}", f"`man 3 errno` explains {name}; look in the server's log", "target")
    )


def advise(step: str, name: str, is_serve: bool = False) -> str:
    """Returns an error's line in a report: the cause, and what to do about it."""
    known = (_AT_SERVE.get(name) if is_serve else None) or explain(step, name)
    return f"{known.cause}: {known.advice}"


def main_error(rows: Iterable[Advised]) -> tuple[str, str] | None:
    """Returns (step, name) of the most frequent error of these rows; None where there is no row."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts[row.step, row.error] += row.count
    return counts.most_common(1)[0][0] if counts else None


def say_cause(step: str, name: str) -> str:
    """Returns an error's cause with its name, as `nothing listens there (ECONNREFUSED)`."""
    cause = explain(step, name).cause
    return cause if name in cause else f"{cause} ({name})"
