"""What to do about an error, by step and name. All texts in one place."""

from __future__ import annotations

__all__ = ["advise"]

_BY_STEP = {
    (
        "connect",
        "ECONNREFUSED",
    ): "nobody listens there (any more): is the server running, and on this address and port?",
    ("connect", "ECONNRESET"): "the server's accept queue dropped it: a longer backlog, or a lower --connect-rate",
    ("connect", "EADDRNOTAVAIL"): "ports ran out: more addresses with --source CIDR, or a wider ip_local_port_range",
    ("connect", "EADDRINUSE"): "the port is taken: more addresses with --source CIDR",
    ("connect", "CONNECT_TIMEOUT"): "no SYN-ACK in time: listen queue full or packets dropped; a lower --connect-rate",
    ("connect", "ETIMEDOUT"): "the kernel gave up on the SYN: packets are dropped on the way",
    ("connect", "RUN_ENDED"): "still connecting when the run ended: a lower --connect-rate or a longer --duration",
    ("connect", "EMFILE"): "out of file descriptors in the process: ulimit -n, LimitNOFILE=, docker --ulimit nofile=",
    ("connect", "ENFILE"): "out of file descriptors on the machine: sysctl -w fs.file-max=…",
    ("connect", "ENETUNREACH"): "no route to that network from here",
    ("connect", "EHOSTUNREACH"): "no answer from that host: is it up, and on this network?",
    ("connect", "EACCES"): "a firewall or security policy forbids it",
    ("connect", "EPERM"): "a firewall rule (or conntrack, when full) refused the packet: see `conntrack -S`",
    ("connect", "ENOBUFS"): "the kernel is out of socket memory: see net.ipv4.tcp_mem",
    ("connect", "AT_LIMIT"): "turned away by --max-connections: raise it, or open fewer",
    ("receive", "WRONG_BYTES"): "the reply was not what was sent: is the server an echo? If it is, it has a bug",
    ("receive", "EXTRA_BYTES"): "more came back than was sent: is the server an echo?",
    ("receive", "REPLY_TIMEOUT"): "no reply within --timeout: the server is stuck, or the load is too high for it",
    ("receive", "CLOSED_BY_PEER"): "the server closed it: its own limit or idle time-out, or it died; see its log",
    ("receive", "ECONNRESET"): "the server reset it: it crashed, or closed with bytes unread; see its log",
    ("send", "EPIPE"): "the server had closed it already; see its log",
}
_BY_NAME = {
    "ETIMEDOUT": "the kernel had no acknowledgement for minutes: the peer or the path is gone",
    "ENOMEM": "the machine is out of memory: `loadkit doctor -c N` has the arithmetic",
}


def advise(step: str, name: str) -> str:
    """Returns what to do about error `name` of `step`."""
    return _BY_STEP.get((step, name)) or _BY_NAME.get(name) or f"see `man 3 errno` for {name}"
