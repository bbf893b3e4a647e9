"""HOST:PORT, to addresses; and whether anybody is there."""

from __future__ import annotations

import os
import re
import socket

from loadkit.endpoint import place_of, reset_on_close
from loadkit.errors import OptionError, TargetError
from loadkit.plan.model import Plan, Target
from loadkit.profile.model import Close
from loadkit.units import NS_PER_S, format_duration

__all__ = ["connect_once", "resolve"]


_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]+)|(?P<only>[0-9]+)")


def resolve(text: str, listening: bool = False) -> Target:
    """Returns where `HOST:PORT`, `[v6]:PORT` or `PORT` is. Port 0 is for listening only.

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
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise TargetError(f"{host!r} does not resolve: {reason}; check the name, or give an address") from None
    return Target(host, (str(found[0][4][0]),), port)


def connect_once(plan: Plan) -> None:
    """Finds out before the run whether anybody is there. Raises TargetError."""
    where = place_of(plan.target.host, plan.target.port)
    route = plan.routes[0]
    source = (route.source, 0) if route.source else None
    try:
        with socket.create_connection(
            (route.destination, plan.target.port), timeout=plan.connect_timeout_ns / NS_PER_S, source_address=source
        ) as probe:
            if plan.close is Close.RST:
                reset_on_close(probe)
    except TimeoutError:
        raise TargetError(
            f"{where}: no answer within {format_duration(plan.connect_timeout_ns)}; a firewall may drop the packets: "
            f"check the address and port, or raise --connect-timeout"
        ) from None
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        raise TargetError(
            f"{where}: the first connection failed: {what}; is the server running, and on this address? "
            f"(leave HOST:PORT out to blast an embedded server)"
        ) from None
