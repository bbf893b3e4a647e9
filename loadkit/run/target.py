"""HOST:PORT or unix:PATH, to addresses."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Sequence
from typing import Any

from loadkit.endpoint import address_in, bare, is_v6, place_of, say_error, zone_of
from loadkit.errors import OptionError, TargetError
from loadkit.limits import refusal
from loadkit.plan.addresses import has_family_of
from loadkit.plan.target import Target
from loadkit.run.unix_address import read_unix, refuse_other_files
from loadkit.sockets import can_bind, is_own_address

__all__ = ["resolve", "resolve_listen"]


_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]+)|(?P<only>[0-9]+)")

_PORT_DIGITS = len("65535")


def resolve(text: str, networks: Sequence[str] = ()) -> tuple[Target, ...]:
    """Returns where `HOST:PORT`, `[v6]:PORT` or `PORT` is: a target for each of its addresses, in the order to try.

    `unix:PATH` has one address. It is on this machine.

    The order is getaddrinfo's (RFC 6724). Each target knows whether it is on this machine. Addresses that connections
    from `networks` cannot go to are left out; if they can go to none, all are there, and the plan says why.
    Raises OptionError when it is none of these, TargetError when the name does not resolve, or the path is no socket's.
    """
    if unix := read_unix(text):
        refuse_other_files(unix)
        return (unix,)
    host, port = _split(text, least=1)
    found = tuple(
        Target(host, (address,), port, is_local=is_own_address(address, port)) for address in _addresses(host, port)
    )
    return tuple(target for target in found if has_family_of(networks, target)) or found


def resolve_listen(text: str) -> Target:
    """Returns where to listen: every address of the name that this machine has; all of them if it has none.

    A name of /etc/hosts often has an address of IPv6 where this machine has no IPv6. Port 0 is a free one.
    Raises OptionError or TargetError as `resolve` does; what is at the path of a UNIX socket is seen when it is bound.
    """
    if unix := read_unix(text):
        return unix
    host, port = _split(text, least=0)
    found = _addresses(host, port)
    return Target(host, tuple(filter(can_bind, found)) or found, port, is_local=True)


def _split(text: str, least: int) -> tuple[str, int]:
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        # People of HTTP's tools give a URL.
        hint = "; loadkit has no schemes and paths so far: its target is an echo server" if "://" in text else ""
        raise OptionError(f"expected HOST:PORT such as 127.0.0.1:7000 or [::1]:7000, or unix:PATH, got {text!r}{hint}")
    digits = (match["port"] or match["only"]).lstrip("0") or "0"
    # int() refuses text of thousands of digits, for what it would take.
    if len(digits) > _PORT_DIGITS or not least <= int(digits) <= 65535:
        raise OptionError(f"port {digits} of {text!r} is not between {least} and 65535")
    return match["v6"] or match["host"] or "127.0.0.1", int(digits)


def _addresses(host: str, port: int) -> tuple[str, ...]:
    """Returns the host's addresses, those of IPv6 that need a zone with it, none twice."""
    try:
        found = _look_up(host, port)
    except (socket.gaierror, UnicodeError) as error:
        reason = say_error(error) if isinstance(error, socket.gaierror) else "not a host name"
        way_out = "check the name, or give an address"
        if bare(host) != host:
            way_out = "what is behind % has to be an interface of this machine: `ip link` lists them"
        raise TargetError(f"{host!r} does not resolve: {reason}; {way_out}") from None
    except OSError as error:  # EAI_SYSTEM
        raise refusal(error, f"look {host!r} up") from None
    addresses = dict.fromkeys(address_in(sockaddr) for *_, sockaddr in found)
    usable = tuple(address for address in addresses if not _lacks_zone(address))
    if not usable:
        address = next(iter(addresses))
        raise OptionError(
            f"{address} is a link-local address, which each interface can have: name the interface, as in "
            f"{place_of(f'{address}%eth0', port)}"
        )
    return usable


def _lacks_zone(address: str) -> bool:
    """Whether connect() and bind() would refuse it with EINVAL (RFC 4007, 6: its scope is one link)."""
    return is_v6(address) and not zone_of(address) and ipaddress.ip_address(address).is_link_local


def _look_up(host: str, port: int) -> list[Any]:
    """Returns what socket.getaddrinfo does, and raises that.

    In a thread, for a signal that comes meanwhile is heard between two steps of Python, and libc waits on where one
    ends its wait: half a minute for name servers that do not answer.
    """
    found: list[Any] = []
    failed: list[OSError | UnicodeError] = []

    def look() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    thread = threading.Thread(target=look, name="loadkit-look-up", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no room for a thread: pids.max
        look()
    else:
        thread.join()
    if failed:
        raise failed[0]
    return found
