"""The TCP sockets of this machine that matter before connecting to a port, read from /proc/net once.

Only what was connected or listens is in there: a socket that was bound and no more takes its port without being seen
(Linux 6.18), and so does a server of another network namespace.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadkit.endpoint import address_in, bare, family_of, is_v6, sockaddr_of
from loadkit.procfs import text_of

__all__ = [
    "LOOPBACK_ADDRESSES",
    "MOST_SOCKETS",
    "Sockets",
    "can_bind",
    "count_loopback",
    "find_obstacle",
    "find_source",
    "is_own_address",
    "read_sockets",
]

# The kernel writes a line of 150 bytes for each: 30 MB for 200,000, which took 0.2 s to search, or 0.4 s if all were to
# the port (2-core VM, Python 3.11). A machine with more is in the middle of a run, which must not be slowed down.
MOST_SOCKETS = 200_000

# proc(5). Addresses are words of 32 bits as the machine has them in memory, ports are plain hexadecimal numbers.
_ROW = re.compile(rb"\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) (..) ")
_LISTEN, _TIME_WAIT = b"0A", b"06"  # include/net/tcp_states.h
_INUSE = re.compile(rb"^TCP6?: inuse (\d+)(?: orphan \d+ tw (\d+))?", re.MULTILINE)

LOOPBACK_ADDRESSES = 2**24 - 2  # hosts of 127.0.0.0/8
_MOST_COUNTED = 1024
# What bind() and connect() say of addresses. Another error, such as no descriptor left, says nothing of them.
_OBSTACLES = frozenset(
    {
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EHOSTUNREACH,
        errno.EINVAL,
        errno.ENETDOWN,
        errno.ENETUNREACH,
    }
)
_RTF_LOCAL = 0x80000000  # linux/ipv6_route.h

_ANY_V4, _ANY_V6 = "0.0.0.0", "::"  # noqa: S104, read, not bound


@dataclass(frozen=True, slots=True)
class Sockets:
    """Sockets of this machine around one port, the target's.

    `used` is how many there are from a source to a destination at that port, in any state; `waiting` how many of them
    are in TIME_WAIT. Source None stands for the one that the kernel chooses, where that was asked for. `bound` are the
    local ports that something listens on, at whatever address: connect() skips them for every destination (seen on
    Linux 6.18; of IPv6 listeners too). `listeners` are the addresses that are listened to at the target's port. All
    addresses are without a zone, which /proc does not tell.
    """

    used: Mapping[tuple[str | None, str], int]
    waiting: Mapping[tuple[str | None, str], int]
    bound: frozenset[int]
    listeners: frozenset[str]

    @property
    def listens_on_wildcard(self) -> bool:
        """Whether every IPv4 address of this machine is answered at the port.

        /proc does not tell a listener of both families from one of IPv6 alone. With a listener of IPv4 beside it, it is
        taken for one of IPv6 alone, because otherwise bind() would have refused the second of them.
        """
        families = {is_v6(address) for address in self.listeners}
        return _ANY_V4 in self.listeners or (_ANY_V6 in self.listeners and families == {True})


def read_sockets(
    port: int,
    destinations: Sequence[str] = (),
    port_range: tuple[int, int] = (0, 65_535),
    proc: Path = Path("/proc"),
    most: int = MOST_SOCKETS,
) -> Sockets | None:
    """Reads what holds local ports of `port_range` (both ends included), and what listens on `port`.

    To each of `destinations` the source that the kernel would choose is found out, for `used` and `waiting` of None.
    An IPv4 address inside an IPv6 one counts as IPv4. `proc` is another root in tests. Never fails: None where nothing
    can be read, or there are more than `most` sockets, which would take too long.
    """
    used: Counter[tuple[bytes, bytes]] = Counter()
    waiting: Counter[tuple[bytes, bytes]] = Counter()
    bound: set[int] = set()
    listeners: set[bytes] = set()
    low, high = port_range
    wanted = b"%04X" % port
    to_port, listening = b":%b " % wanted, b" %b " % _LISTEN
    try:
        if _count_sockets(proc) > most:
            return None
        for table in (proc / "net/tcp", proc / "net/tcp6"):
            if table.name == "tcp6" and not table.exists():  # a kernel without IPv6
                continue
            with table.open("rb") as rows:
                for line in rows:
                    # On a busy machine nearly all lines are of other programs: two searches are cheaper than a match.
                    if to_port not in line and listening not in line:
                        continue
                    row = _ROW.match(line)
                    if row is None:
                        continue
                    local, local_port, remote, remote_port, state = row.groups()
                    inside = low <= int(local_port, 16) <= high
                    if state == _LISTEN:
                        if inside:
                            bound.add(int(local_port, 16))
                        if local_port == wanted:
                            listeners.add(local)
                    elif remote_port == wanted and inside:
                        used[local, remote] += 1
                        waiting[local, remote] += state == _TIME_WAIT
    except OSError:
        return None
    chosen = {destination: find_source(destination, port) for destination in destinations}
    return Sockets(
        used=_by_address(used, chosen),
        waiting=_by_address(waiting, chosen),
        bound=frozenset(bound),
        listeners=frozenset(map(_address, listeners)),
    )


def find_source(destination: str, port: int) -> str | None:
    """Returns the address the kernel connects from when it is left the choice; None where there is no way.

    Connecting a datagram socket asks the routing table and sends nothing (ip(7), udp(7)).
    """
    try:
        with socket.socket(family_of(destination), socket.SOCK_DGRAM) as asker:
            asker.connect(sockaddr_of(destination, port))
            return address_in(asker.getsockname())
    except OSError:
        return None


def is_own_address(address: str, port: int) -> bool:
    """Whether connections to it stay on this machine: loopback, or the kernel would take it as their source too."""
    parsed = ipaddress.ip_address(bare(address))
    # Connecting to 0.0.0.0 or :: reaches loopback.
    return parsed.is_unspecified or parsed.is_loopback or find_source(address, port) == address


def can_bind(address: str) -> bool:
    """Whether a socket can have the address; an AnyIP route (ip-route(8), `local`) lets it. Any doubt counts as yes."""
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
            sock.bind(sockaddr_of(address, 0))
    except OSError as error:
        # Without a number: its zone is no interface of this machine.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV, None)
    return True


def find_obstacle(source: str | None, destination: str, port: int, proc: Path = Path("/proc")) -> int | None:
    """Returns the errno with which a connection between these addresses fails; None where nothing is known against it.

    It is tried with a datagram socket, which sends nothing. That bind() takes an address does not make it this
    machine's (net.ipv4.ip_nonlocal_bind): without a local route nothing comes back to it, which connect() tells of IPv4
    and not of IPv6. EADDRNOTAVAIL is for all of that, EINVAL for loopback as the source of what leaves this machine.
    """
    family = family_of(destination)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            if source:
                asker.bind(sockaddr_of(source, 0))
            asker.connect(sockaddr_of(destination, port or 7))
    except OSError as error:
        if error.errno is None:
            return errno.ENODEV  # a zone that is no interface of this machine
        if error.errno not in _OBSTACLES:
            return None
        is_foreign = source and error.errno == errno.ENETUNREACH and find_source(destination, port) is not None
        return errno.EADDRNOTAVAIL if is_foreign else error.errno
    if source and family == socket.AF_INET6:
        if ipaddress.ip_address(bare(source)).is_loopback and not is_own_address(destination, port):
            return errno.EINVAL  # sent all the same, and dropped by the other machine (ip6_rcv_core)
        if not _is_local_v6(source, proc):
            return errno.EADDRNOTAVAIL
    return None


def count_loopback() -> int:
    """Returns how many addresses from 127.0.0.1 on are this machine's, counted up to 1,024 where not all are.

    As a rule all of 127.0.0.0/8 is, but the interface may have 127.0.0.1/32, or be down.
    """
    last = ipaddress.IPv4Address("127.0.0.0") + LOOPBACK_ADDRESSES
    if find_obstacle(str(last), str(last), 7) is None:
        return LOOPBACK_ADDRESSES
    for count in range(_MOST_COUNTED):
        address = str(ipaddress.IPv4Address("127.0.0.1") + count)
        if find_obstacle(address, address, 7) is not None:
            return count
    return _MOST_COUNTED


def _is_local_v6(address: str, proc: Path) -> bool:
    """Whether a local route has it; any doubt counts as yes."""
    wanted = int(ipaddress.IPv6Address(bare(address)))
    rows = text_of(proc / "net/ipv6_route").splitlines()
    for row in rows:
        fields = row.split()
        destination, length, flags = int(fields[0], 16), int(fields[1], 16), int(fields[8], 16)
        if flags & _RTF_LOCAL and length and (wanted ^ destination) >> (128 - length) == 0:
            return True
    return not rows


def _count_sockets(proc: Path) -> int:
    """Counts this network namespace's sockets, without walking through them."""
    text = (proc / "net/sockstat").read_bytes()
    if (proc / "net/sockstat6").exists():
        text += (proc / "net/sockstat6").read_bytes()
    return sum(int(number) for found in _INUSE.findall(text) for number in found if number)


def _by_address(
    counts: Counter[tuple[bytes, bytes]], chosen: Mapping[str, str | None]
) -> Mapping[tuple[str | None, str], int]:
    """Decodes each pair once, however many sockets it has."""
    found: Counter[tuple[str | None, str]] = Counter()
    for (local, remote), count in counts.items():
        if count:
            found[_address(local), _address(remote)] += count
    for destination, source in chosen.items():
        if source is not None and (count := found[bare(source), bare(destination)]):
            found[None, bare(destination)] = count
    return dict(found)


def _address(text: bytes) -> str:
    """Decodes `0100007F` and the four words of an IPv6 address."""
    raw = bytes.fromhex(text.decode())
    if sys.byteorder == "little":
        raw = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    if len(raw) == 4:
        return str(ipaddress.IPv4Address(raw))
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)
