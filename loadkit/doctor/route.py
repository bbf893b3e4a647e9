"""Which network interface the connections to an address leave by."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from loadkit.endpoint import bare, is_v6, zone_of
from loadkit.procfs import text_of

__all__ = ["find_interface", "is_unsettled"]

_SIOCGIFADDR = 0x8915
_UP = 0x1  # RTF_UP
# IFA_F_DADFAILED and IFA_F_TENTATIVE of linux/if_addr.h: duplicate address detection has failed, or goes on (RFC 4862).
_UNSETTLED = 0x08 | 0x40

AddressOf = Callable[[str], str | None]


def find_interface(
    address: str, source: str, proc: Path = Path("/proc"), address_of: AddressOf | None = None
) -> str | None:
    """Returns the name of the interface that has `source`, or that the routes to `address` name.

    A source with a zone names its interface itself. None for an address of this machine, which needs no card, and if
    nothing is found.
    """
    if source == address:
        return None
    if is_v6(address):
        return _holder_of_v6(source, proc)
    ask = address_of or _address_of
    for _, name in socket.if_nameindex():
        if ask(name) == source:
            return name
    # The ioctl knows an interface's first address only.
    return _by_routes(address, proc)


def _address_of(name: str) -> str | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("16s24x", name.encode()[:15]))
    except OSError:
        return None
    return socket.inet_ntoa(answer[20:24])


def _by_routes(address: str, proc: Path) -> str | None:
    """Returns the interface of the longest prefix in /proc/net/route, whose addresses are hexadecimal, reversed."""
    wanted = int.from_bytes(socket.inet_aton(address), "little")
    best: tuple[int, str] | None = None
    for line in text_of(proc / "net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or not int(fields[3], 16) & _UP:
            continue
        destination, mask = int(fields[1], 16), int(fields[7], 16)
        if wanted & mask == destination and (best is None or mask.bit_count() > best[0]):
            best = (mask.bit_count(), fields[0])
    return best[1] if best else None


def is_unsettled(source: str, proc: Path = Path("/proc")) -> bool:
    """Whether an interface has this IPv6 address, but no socket can have it yet, or ever."""
    found = is_v6(source) and _find_v6(source, proc)
    return bool(found and int(found[4], 16) & _UNSETTLED)


def _holder_of_v6(source: str, proc: Path) -> str | None:
    if zone_of(source):
        return zone_of(source)
    found = _find_v6(source, proc)
    return found[-1] if found else None


def _find_v6(address: str, proc: Path) -> list[str] | None:
    """Returns its line of /proc/net/if_inet6: address, and as hexadecimal index, prefix, scope and flags; interface."""
    wanted, zone = f"{int(ipaddress.IPv6Address(bare(address))):032x}", zone_of(address)
    for line in text_of(proc / "net/if_inet6").splitlines():
        fields = line.split()
        if len(fields) == 6 and fields[0] == wanted and zone in ("", fields[-1]):
            return fields
    return None
