"""The seam between a worker process and what moves its bytes."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from loadkit.measure.board import Slot
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard
from loadkit.units import NS_PER_S

__all__ = ["CAME_BYTES", "MOST_OWED_BYTES", "STOP_NS", "Control", "Engine"]

# A gentle stop waits this long for the replies under way.
STOP_NS = NS_PER_S
# What is kept of the bytes that came on the run's first connection: enough to tell a protocol by. native/blast.h too.
CAME_BYTES = 128

# What a worker of the serve end keeps for all peers that do not read: a whole read for 256 of them, and no more memory
# than a few interpreters take.
MOST_OWED_BYTES = 64 * 2**20


class Control(Protocol):
    """What the parent says to a worker, as the worker sees it. Nothing here blocks but `wait_start`.

    The answers are those of the last `hear`: two answers in a row always belong together.
    """

    def ready(self) -> None:
        """Tells the parent that everything is set up and the start may come."""

    def wait_start(self) -> int:
        """Waits for the start and returns it (monotonic ns), possibly a little ahead of now.

        The worker's connects of the ramp begin then. For the worker that opens the run's first connection, that
        connect begins then.
        """

    def hear(self) -> None:
        """Reads what the parent has sent. Call it whenever the file descriptor is readable."""

    def ramp_start(self) -> int | None:
        """Returns when the connects of the ramp begin (monotonic ns), None while the first connection is waited for.

        Only the worker that opens the run's first connection gets it.
        """

    def came(self, first_bytes: bytes) -> None:
        """Sends the parent the first bytes that came on the run's first connection, if that failed."""

    def finished(self) -> None:
        """Tells the parent that this worker's traffic is over except for the drain. Call it once `finished_ns` is set.

        The board shows whether all workers are. This makes the parent read it now and not at its next tick.
        """

    def hold_start(self) -> int | None:
        """Returns when the phases after the ramp begin (monotonic ns), None while the ramp goes on."""

    def should_stop(self) -> bool:
        """Whether the parent wants the run ended gently: no new messages, then drain."""

    def should_stop_opening(self) -> bool:
        """Whether no more connections should be opened: the machine has no room for them."""

    def should_leave(self) -> bool:
        """Whether to end at once: the second signal, or a parent that is gone."""

    def fileno(self) -> int:
        """A file descriptor that is readable when `hear` has something to read."""


class Engine(Protocol):
    """A way to move bytes. Each call blocks until its shard is done; the engine owns its event loop."""

    name: str

    def version(self) -> str:
        """Returns the name and version of what is underneath, for the record."""

    def blast(self, shard: Shard, slot: Slot, control: Control, before: Slot | None = None) -> None:
        """Runs a shard: ramp, phases, drain, close. Writes to `slot` alone.

        The shard that opens the run's first connection opens that one at the start, and sets `proved` on the board when
        its first reply was right, or when it failed; its other connects wait until it is told when the ramp begins.
        `before` is the slot of the worker whose connects come before this one's on the same core: this worker waits
        until that one has settled all of its connects.
        """

    def serve(self, plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> None:
        """Echoes on the listening sockets until told to stop. Writes to `slot` alone."""
