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

# What a worker of the serve end keeps for peers that do not read, all of them together: a whole read of 256 of them,
# and no more than a few interpreters take.
MOST_OWED_BYTES = 64 * 2**20


class Control(Protocol):
    """What the parent says to a worker, as the worker sees it. Nothing here blocks but `wait_start`.

    The answers are as of the last `hear`: one that read on between two of them would lose what came in between.
    """

    def ready(self) -> None:
        """Tells the parent that everything is set up and the start may come."""

    def wait_start(self) -> int:
        """Waits for the start and returns it (monotonic ns), possibly a little ahead of now.

        That is when its connects of the ramp begin; for the worker that opens the run's first connection, when that
        one does.
        """

    def hear(self) -> None:
        """Takes in what was said; to be called whenever the file descriptor is readable."""

    def ramp_start(self) -> int | None:
        """Returns when the connects of the ramp begin (monotonic ns), None while the first connection is waited for.

        Only the worker that opens the run's first connection is told.
        """

    def came(self, first_bytes: bytes) -> None:
        """Tells the parent how what came on the run's first connection begins, when it failed."""

    def finished(self) -> None:
        """Tells the parent that this worker's traffic is over but for the drain; to be said once `finished_ns` is set.

        Whether all of them are shows on the board; this has the parent look now and not at its next tick.
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
        """A file descriptor that is readable when there is something to hear."""


class Engine(Protocol):
    """A way to move bytes. Each call blocks until its shard is done; the engine owns its event loop."""

    name: str

    def version(self) -> str:
        """Returns the name and version of what is underneath, for the record."""

    def blast(self, shard: Shard, slot: Slot, control: Control, before: Slot | None = None) -> None:
        """Runs a shard: ramp, phases, drain, close. Writes to `slot` alone.

        The shard that opens the run's first connection opens that one at the start, and sets `proved` on the board when
        its first reply was right, or when it failed; its other connects wait until it is told when the ramp begins.
        `before` is the slot of the worker whose connects come before ours on this core: ours wait until it has settled
        all of its own.
        """

    def serve(self, plan: ServePlan, listeners: Sequence[socket.socket], slot: Slot, control: Control) -> None:
        """Echoes on the listening sockets until told to stop. Writes to `slot` alone."""
