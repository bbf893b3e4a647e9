"""How far a run has got, read from its board: a test waits for that, and not for a while that may be too short."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from pathlib import Path

from loadkit.measure.names import STATE

# Far more than anything here takes, beside busy loops too: who waits so long waits in vain.
PATIENCE_S = 60.0
_WORDS = struct.Struct(f"={len(STATE)}q")


def wait_for(condition: Callable[[], bool], what: str = "it does not come to pass") -> None:
    """Waits until it is so; `what` is what did not come to pass."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def state_of(pid: int) -> dict[str, int]:
    """Returns STATE of the first worker from the board that a worker process has open; empty before it has one."""
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for file in Path(f"/proc/{pid}/fd").iterdir():
            if str(file.readlink()).startswith("/memfd:loadkit-board"):
                with file.open("rb") as board:
                    return dict(zip(STATE, _WORDS.unpack(board.read(_WORDS.size)), strict=True))
    return {}


def wait_until_in_phase(pid: int, phase: int) -> None:
    """Waits until the first worker is in the phase: 0 is the ramp. `pid` is any worker of the blast end."""
    wait_for(lambda: state_of(pid).get("phase", 0) >= phase, f"phase {phase} does not begin")


def wait_for_replies(pid: int) -> None:
    """Waits until the first worker of a run at a rate has had a reply behind the ramp."""
    wait_until_in_phase(pid, 1)
    seen_ns = time.monotonic_ns()
    wait_for(lambda: state_of(pid).get("replied_ns", 0) > seen_ns, "no reply comes")
