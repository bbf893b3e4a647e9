"""What to do about an error, by step and name. All texts in one place."""

from __future__ import annotations

__all__ = ["advise"]

_FDS = "out of file descriptors in the process: ulimit -n, LimitNOFILE=, docker --ulimit nofile="
_MORE_PORTS = "ports ran out: more addresses with --source CIDR, or a wider ip_local_port_range; --close rst"

_BY_STEP = {
    ("connect", "ECONNREFUSED"): "nobody listens there (any more): is the server running, on this address and port?",
    ("connect", "ECONNRESET"): "the server's accept queue dropped it: a longer backlog, or a lower --connect-rate",
    ("connect", "EADDRNOTAVAIL"): _MORE_PORTS,
    ("connect", "EADDRINUSE"): "the source port is taken: more addresses with --source CIDR",
    ("connect", "CONNECT_TIMEOUT"): "no SYN-ACK in time: listen queue full or packets dropped; a lower --connect-rate",
    ("connect", "ETIMEDOUT"): "the kernel gave up on the SYN: packets are dropped on the way, by a firewall perhaps",
    ("connect", "RUN_ENDED"): "still connecting when the run ended: a lower --connect-rate or a longer --duration",
    ("connect", "EPERM"): "a firewall rule (or conntrack, when full) refused the packet: see `conntrack -S`",
    ("connect", "AT_LIMIT"): "turned away by --max-connections: raise it, or open fewer",
    ("receive", "APP_FAILED"): "the app that was served raised an exception: its standard error has the first of each",
    ("receive", "WRONG_BYTES"): "the reply was not what was sent: is the server an echo? If it is, it has a bug",
    ("receive", "EXTRA_BYTES"): "more came back than was sent: is the server an echo?",
    ("receive", "REPLY_TIMEOUT"): "no reply within --timeout: the server is stuck, or the load is too high for it",
    ("receive", "CLOSED_BY_PEER"): "the server closed it: its own limit or idle time-out, or it died; see its log",
}
_BY_NAME = {
    "CLOSED_BY_PEER": "the server closed it before its replies were out; see its log",
    "EACCES": "a firewall or security policy forbids it: see `iptables -S`, and SELinux's or AppArmor's log",
    "EADDRINUSE": "another process has the address and port: `ss -tanp` shows which",
    "ECONNRESET": "the server reset it: it crashed, or closed with bytes unread; see its log",
    "EHOSTUNREACH": "no answer from that host: is it up, and on this network?",
    "EMFILE": _FDS,
    "ENETUNREACH": "no route to that network from here: see `ip route get ADDRESS`",
    "ENFILE": "out of file descriptors on the machine: sysctl -w fs.file-max=1000000",
    "ENOBUFS": "the kernel is out of socket memory: see net.ipv4.tcp_mem; fewer connections, or smaller messages",
    "ENOMEM": "the machine is out of memory: `loadkit doctor -c N` has the arithmetic",
    "EPERM": "a firewall rule refused the packet: see `iptables -S`",
    "EPIPE": "the server had closed it already: its own limit or idle time-out, or it died; see its log",
    "ETIMEDOUT": "the kernel had no acknowledgement for minutes: the peer or the path is gone",
    "UNKNOWN": "no error number came with it: run once with --engine asyncio, and report it with both records",
}


def advise(step: str, name: str) -> str:
    """Returns what to do about error `name` of `step`."""
    return (
        _BY_STEP.get((step, name)) or _BY_NAME.get(name) or f"`man 3 errno` explains {name}; look in the server's log"
    )
