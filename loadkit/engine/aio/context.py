"""What an engine gives a worker to work with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadkit.engine.aio.probing import Answering, Probing
from loadkit.engine.aio.wakeups import Wait
from loadkit.engine.base import Control
from loadkit.measure.board import Slot
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard

__all__ = ["BlastContext", "ServeContext"]


@dataclass(frozen=True, slots=True)
class BlastContext:
    """A worker of the blast end: its loop, its shard, where it writes, and who it hears.

    `before` is the slot of the worker whose connects come before this one's, if there is one (engine/base.py).
    `last_wait` returns the loop's last wait; None if this loop does not report its waits.
    """

    loop: asyncio.AbstractEventLoop
    shard: Shard
    slot: Slot
    control: Control
    before: Slot | None = None
    probing: Probing | None = None
    last_wait: Callable[[], Wait] | None = None


@dataclass(frozen=True, slots=True)
class ServeContext:
    """A worker of the serve end: its loop, its plan, the sockets it listens on, where it writes, and who it hears.

    `answering` is what answers probes; None if it cannot, and then a probe is echoed to like any other connection.
    `epoll_fd` is the loop's own file descriptor of epoll.
    """

    loop: asyncio.AbstractEventLoop
    plan: ServePlan
    listeners: Sequence[socket.socket]
    slot: Slot
    control: Control
    answering: Answering | None = None
    epoll_fd: int = -1
