"""Where connections go, and by which way: values alone. Which ways there are is addresses.py's subject."""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.endpoint import is_unix

__all__ = ["EMBEDDED", "Route", "Target"]

EMBEDDED = "embedded"  # the target's name when blast starts the server itself


class Target(msgspec.Struct, frozen=True):
    """Where the connections go.

    `port` is 0 for an embedded target, whose server has a port once it is up, and for a UNIX socket, which has none.

    `is_local`: an address of this machine, so that what serves there shares the machine's cores with the blast end.
    """

    host: str
    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    port: int
    embedded: bool = False
    is_local: bool = False

    @property
    def is_unix(self) -> bool:
        """Whether it is a UNIX socket."""
        return is_unix(self.addresses[0])

    @property
    def span(self) -> str:
        """Its addresses for people: `127.0.0.1 to 127.0.0.153`."""
        first, *more = self.addresses
        return f"{first} to {more[-1]}" if more else first


class Route(msgspec.Struct, frozen=True):
    """`connections` of them go from `source` (None: the kernel's choice, no bind) to `destination`.

    `ports` (low, high; both included) is where their local ports come from, if there are so many that the kernel's
    default search for one would be slow. `may_meet_itself`: the local port can be the target's own, and a connection
    that drew it while no server listens there is connected to itself.
    """

    source: str | None
    destination: str
    connections: int
    ports: tuple[int, int] | None = None
    may_meet_itself: bool = False
