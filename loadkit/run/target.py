"""HOST:PORT, to addresses."""

from __future__ import annotations

import re
import socket

from loadkit.endpoint import say_error
from loadkit.errors import OptionError, TargetError
from loadkit.plan.model import Target
from loadkit.sockets import is_own_address

__all__ = ["resolve"]


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
