"""A listener that answers no connect."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def full_listener() -> Iterator[socket.socket]:
    """Listens with a full accept queue: a SYN is dropped until the one connection in it is accepted.

    The backlog of 0 takes one (tcp(7), somaxconn). Its connect returns before the ACK has come that puts it there.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        with socket.create_connection(listener.getsockname()):
            readable, _, _ = select.select([listener], [], [], 60)
            assert readable, "its own connection does not come"
            yield listener
