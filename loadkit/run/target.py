"""HOST:PORT, to addresses; and whether anybody is there."""

from __future__ import annotations

import errno
import os
import re
import select
import socket

from loadkit.endpoint import place_of, refuse_itself, reset_on_close, say_error
from loadkit.errors import OptionError, TargetError
from loadkit.plan.model import Plan, Target
from loadkit.profile.model import Close
from loadkit.run.signals import Interrupts
from loadkit.sockets import is_own_address
from loadkit.units import NS_PER_S, format_duration

__all__ = ["connect_once", "resolve"]


_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]+)|(?P<only>[0-9]+)")


def resolve(text: str, listening: bool = False) -> Target:
    """Returns where `HOST:PORT`, `[v6]:PORT` or `PORT` is, and whether on this machine. Port 0 is for listening only.

    Raises OptionError when it is none of these, TargetError when the name does not resolve.
    """
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise OptionError(f"expected HOST:PORT such as 127.0.0.1:7000 or [::1]:7000, got {text!r}")
    host = match["v6"] or match["host"] or "127.0.0.1"
    port = int(match["port"] or match["only"])
    if not (0 if listening else 1) <= port <= 65535:
        raise OptionError(f"port {port} of {text!r} is not between {0 if listening else 1} and 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = say_error(error) if isinstance(error, socket.gaierror) else "not a host name"
        raise TargetError(f"{host!r} does not resolve: {reason}; check the name, or give an address") from None
    address = str(found[0][4][0])
    return Target(host, (address,), port, is_local=is_own_address(address, port))


def connect_once(plan: Plan, interrupts: Interrupts) -> None:
    """Finds out before the run whether anybody is there, unless interrupted meanwhile. Raises TargetError."""
    where = place_of(plan.target.host, plan.target.port)
    try:
        _connect(plan, interrupts)
    except TimeoutError:
        raise TargetError(
            f"{where}: no answer within {format_duration(plan.connect_timeout_ns)}; a firewall may drop the packets: "
            f"check the address and port, or raise --connect-timeout"
        ) from None
    except OSError as error:
        raise TargetError(
            f"{where}: the first connection failed: {say_error(error)}{_way_out(error)} (leave HOST:PORT out to blast "
            f"an embedded server)"
        ) from None


def _way_out(error: OSError) -> str:
    """What to do about it, where its number tells."""
    if isinstance(error, socket.gaierror):
        return "; a source of one family does not reach an address of the other: leave --source out, or change it"
    if error.errno == errno.ECONNREFUSED:
        return "; nothing listens there: start the server, or correct the address and port"
    return "; check the address and port"


def _connect(plan: Plan, interrupts: Interrupts) -> None:
    route = plan.routes[0]
    family = socket.AF_INET6 if ":" in route.destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if plan.close is Close.RST:
            reset_on_close(probe)
        if route.source:
            probe.bind((route.source, 0))
        number = probe.connect_ex((route.destination, plan.target.port))
        if number == errno.EINPROGRESS:
            waiting = select.poll()
            waiting.register(probe, select.POLLOUT)
            waiting.register(interrupts, select.POLLIN)
            ready = dict(waiting.poll(0 if interrupts.count else 1000 * plan.connect_timeout_ns / NS_PER_S))
            if not ready and not interrupts.count:
                raise TimeoutError
            number = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if probe.fileno() in ready else 0
        if number:
            raise OSError(number, os.strerror(number))
        refuse_itself(probe)
