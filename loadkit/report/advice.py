"""What an error means, by step and name: its cause, what to do, and whose it is. All texts are in one place.

Each text says what the error itself shows. The verdict adds what else is known of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from loadkit.report.record import Advised, Party
from loadkit.wire.protocol import REPLY_ERRORS, WRONG_REPLY

__all__ = ["EXHAUSTED", "Known", "advise", "breaks", "explain", "main_error", "say_cause"]


@dataclass(frozen=True, slots=True)
class Known:
    """An error: its cause (worded to follow a number of connections or messages), what to do, and whose it is."""

    cause: str
    advice: str
    party: Party


# Errors by which this machine says that it has run out of something. No target can cause them.
EXHAUSTED = ("EADDRNOTAVAIL", "EADDRINUSE", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")

# The steps at which a connection is open.
_BREAKS = ("send", "receive", "reply")
_ANY = ""  # any step without a row of its own

_TABLE: dict[tuple[str, str], Known] = {
    # -- of this machine
    ("connect", "EADDRNOTAVAIL"): Known(
        "all local ports towards that address are in use",
        "give more addresses with --source CIDR, widen net.ipv4.ip_local_port_range, or use --close rst",
        "machine",
    ),
    ("connect", "EADDRINUSE"): Known(
        "the local port is in use",
        "give more addresses with --source CIDR, widen net.ipv4.ip_local_port_range, or use --close rst",
        "machine",
    ),
    (_ANY, "EADDRINUSE"): Known(
        "another socket has the address and port", "`ss -tanp` shows it; stop its process, or wait", "machine"
    ),
    (_ANY, "EMFILE"): Known(
        "a process is out of file descriptors",
        "raise the limit (ulimit -n, LimitNOFILE=, docker --ulimit nofile=), or use more workers",
        "machine",
    ),
    (_ANY, "ENFILE"): Known(
        "the machine is out of file descriptors", "sysctl -w fs.file-max=1000000, or use fewer connections", "machine"
    ),
    (_ANY, "ENOMEM"): Known(
        "the kernel has no memory left", "use fewer connections; `loadkit doctor -c N` shows the calculation", "machine"
    ),
    (_ANY, "ENOBUFS"): Known(
        "the kernel has no memory left for sockets",
        "raise net.ipv4.tcp_mem, or use fewer connections or smaller messages",
        "machine",
    ),
    ("connect", "EPERM"): Known(
        "a firewall of this machine, or a full conntrack table, refused the packet",
        "see `iptables -S`, and `conntrack -S` for a full table",
        "machine",
    ),
    (_ANY, "EPERM"): Known("a firewall of this machine refused the packet", "see `iptables -S`", "machine"),
    (_ANY, "EACCES"): Known(
        "a firewall or security policy of this machine, or the permissions of a UNIX socket's path, forbid it",
        "see `iptables -S` and the log of SELinux or AppArmor; `namei -l PATH` shows the permissions on a path",
        "machine",
    ),
    ("connect", "ENOENT"): Known(
        "there is no socket at the path (any more)",
        "start the server, or correct the path; if it ended, its log says why",
        "target",
    ),
    ("connect", "EPROTOTYPE"): Known(
        "the socket at the path takes datagrams, and no connections",
        "give the path of a stream socket: `ss -xl` lists them",
        "target",
    ),
    # -- of the network
    (_ANY, "EHOSTUNREACH"): Known(
        "a router or this machine's kernel reports no answer from that host",
        "`ip neigh` and `ip route get ADDRESS` show how far packets get",
        "network",
    ),
    (_ANY, "ENETUNREACH"): Known(
        "this machine has no route to that network", "see `ip route get ADDRESS`, and add a route", "network"
    ),
    ("connect", "CONNECT_TIMEOUT"): Known(
        "no answer to the connect within --connect-timeout",
        "lower --connect-rate or use a longer backlog if its accept queue is full; a firewall may drop the packets",
        "target",
    ),
    ("connect", "ETIMEDOUT"): Known(
        "the kernel gave up on the SYN",
        "lower --connect-rate if its accept queue is full; a firewall may drop the packets",
        "target",
    ),
    (_ANY, "ETIMEDOUT"): Known(
        "the kernel got no acknowledgement for minutes",
        "check whether the peer is up, and the path to it",
        "network",
    ),
    # -- of the target
    ("connect", "ECONNREFUSED"): Known(
        "the target refused: nothing listens there (any more)",
        "start the server, or correct the address and port; if it ended, its log says why",
        "target",
    ),
    ("connect", "ECONNRESET"): Known(
        "the target reset them as they opened",
        "lower --connect-rate or use a longer backlog if its accept queue is full; see its log for a limit of its own",
        "target",
    ),
    (_ANY, "NOT_ACCEPTED"): Known(
        "the target's accept queue is full",
        "they were open here, but the target acknowledged nothing; raise its backlog and net.core.somaxconn, use more "
        "accepting threads or processes, or lower --connect-rate",
        "target",
    ),
    ("connect", "AT_LIMIT"): Known(
        "the serve end turned them away (--max-connections)",
        "raise --max-connections of the serve end, or use fewer connections",
        "target",
    ),
    ("connect", "RUN_ENDED"): Known(
        "they were still connecting when the run ended", "lower --connect-rate, or raise --duration", "target"
    ),
    ("close", "CUT"): Known(
        "the serve end closed them when it ended",
        "raise --grace, or let the clients close first",
        "target",
    ),
    ("receive", "APP_FAILED"): Known(
        "the served app raised an exception", "its standard error shows the first of each kind", "target"
    ),
    ("receive", "WRONG_BYTES"): Known(
        "the reply was not what was sent", "check that the target is an echo server; if it is, it has a bug", "target"
    ),
    ("receive", "EXTRA_BYTES"): Known(
        "more came back than was sent", "check that the target is an echo server; if it is, it has a bug", "target"
    ),
    ("reply", "TOO_LONG"): Known(
        "the reply was longer than it may be",
        "check that the target speaks the protocol that the replies are taken for",
        "target",
    ),
    ("reply", "BAD_LENGTH"): Known(
        "the reply stated a length that cannot be one",
        "check that the target speaks the protocol that the replies are taken for",
        "target",
    ),
    ("reply", "BAD_CODE"): Known(
        "the reply did not begin with a code of three digits",
        "check that the target speaks SMTP, FTP or NNTP, and what it says first (--first '' --first-expect line-code)",
        "target",
    ),
    ("reply", "WRONG_REPLY"): Known(
        "the reply ended where it should, and did not say what --check asks for",
        "the network did its work: see the first of them, and the log of the target",
        "target",
    ),
    ("receive", "REPLY_TIMEOUT"): Known(
        "no reply within --timeout",
        "the server is stuck, or the load is too high for it; lower --rate, or raise --timeout",
        "target",
    ),
    # -- of the target, before a connection takes its first message
    ("handshake", "CLOSED_BY_PEER"): Known(
        "the target closed them in their set-up",
        "see what its log says of --first: it may want another text, or have a limit",
        "target",
    ),
    ("handshake", "HANDSHAKE_TIMEOUT"): Known(
        "their set-up was not over within --connect-timeout",
        "check --first, and that --first-expect says where its reply ends; or raise --connect-timeout",
        "target",
    ),
    ("handshake", "EXTRA_BYTES"): Known(
        "the target said more in their set-up than --first-expect tells of",
        "check --first-expect; `--first ''` takes what the target says by itself",
        "target",
    ),
    ("handshake", "RUN_ENDED"): Known(
        "they were still being set up when the run ended", "lower --connect-rate, or raise --duration", "target"
    ),
    ("handshake", "WRONG_REPLY"): Known(
        "a reply in their set-up did not say what --first-check asks for",
        "the network did its work: see what the target's log says of --first",
        "target",
    ),
    **{
        ("handshake", name): Known(
            f"a reply in their set-up was not what --first-expect tells of ({name})",
            "check --first-expect, and what the target says of --first",
            "target",
        )
        for name in REPLY_ERRORS
        if name != "WRONG_REPLY"
    },
    ("send", "SEND_TIMEOUT"): Known(
        "the target replied before it had read the message, and did not take the rest within --timeout",
        "check that the target speaks the protocol of the messages, or raise --timeout",
        "target",
    ),
    (_ANY, "CLOSED_BY_PEER"): Known(
        "the target closed them",
        "see its log for a limit, an idle timeout or a crash",
        "target",
    ),
    (_ANY, "ECONNRESET"): Known(
        "the target reset them", "see its log for a crash; a close with bytes unread resets too", "target"
    ),
    (_ANY, "EPIPE"): Known(
        "the target had closed them already",
        "see its log for a limit, an idle timeout or a crash",
        "target",
    ),
    (_ANY, "UNKNOWN"): Known(
        "the event loop gave no error number",
        "run once with --engine asyncio, and report the bug with both records",
        "target",
    ),
}

# The same errors as the serve end sees them: its peer is the blast end.
_AT_SERVE: dict[str, Known] = {
    "NO_PROXY_HEADER": Known(
        "the connection did not begin with a PROXY header",
        "have the proxy in front send one (HAProxy: send-proxy), or blast with --proxy-protocol; else serve without it",
        "network",
    ),
    "PROXY_TIMEOUT": Known(
        "the connection's PROXY header was not whole within 5 s",
        "have the proxy in front send one (HAProxy: send-proxy), or serve without --proxy-protocol",
        "network",
    ),
    "CLOSED_BY_PEER": Known(
        "the client closed it before its replies were sent", "check the errors of the client", "network"
    ),
    "ECONNRESET": Known(
        "the client reset it", "check whether it ended, or closes by reset (blast --close rst)", "network"
    ),
    "EPIPE": Known("the client had closed it already", "check the errors of the client", "network"),
}


def explain(step: str, name: str) -> Known:
    """Returns what is known of the error `name` in the step `step`, as the blast end sees it."""
    return (
        _TABLE.get((step, name))
        or _TABLE.get((_ANY, name))
        or Known(f"{name} at the step {step}", f"`man 3 errno` explains {name}; look in the server's log", "target")
    )


def breaks(step: str, name: str) -> bool:
    """Whether such an error ends a connection that was open. One with a wrong reply goes on."""
    return step in _BREAKS and name != WRONG_REPLY


def advise(step: str, name: str, is_serve: bool = False) -> str:
    """Returns an error's line in a report: the cause, and what to do about it."""
    known = (_AT_SERVE.get(name) if is_serve else None) or explain(step, name)
    return f"{known.cause}: {known.advice}"


def main_error(rows: Iterable[Advised]) -> tuple[str, str] | None:
    """Returns (step, name) of the most frequent error of these rows; None if there are no rows."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts[row.step, row.error] += row.count
    return counts.most_common(1)[0][0] if counts else None


def say_cause(step: str, name: str) -> str:
    """Returns an error's cause with its name, as `nothing listens there (ECONNREFUSED)`."""
    cause = explain(step, name).cause
    return cause if name in cause else f"{cause} ({name})"
