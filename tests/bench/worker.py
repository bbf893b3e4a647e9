"""A worker of the compiled engine in this process, for a profiler to look at.

python tests/bench/worker.py PORT MESSAGES [OPTION=VALUE]...
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import msgspec

from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.names import COUNTERS
from loadkit.plan.build import build_plan
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.split import split
from loadkit.plan.target import Target
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile
from loadkit.run.pool import pool_of

ADDRESS = "127.0.0.1"
HOLD_AFTER_NS = 8 * 10**9  # a profiler makes the ramp slow


class Scripted:
    """A control that says when the ramp and the hold begin, and nothing else (engine/base.py: Control)."""

    def __init__(self) -> None:
        self._start_ns = time.monotonic_ns()
        self._silent, self._open = os.pipe()

    def ready(self) -> None: ...

    def hear(self) -> None: ...

    def came(self, first_bytes: bytes) -> None:
        raise SystemExit(f"the target replied {first_bytes!r}")

    def wait_start(self) -> int:
        return self._start_ns

    def ramp_start(self) -> int | None:
        return self._start_ns

    def hold_start(self) -> int | None:
        return self._start_ns + HOLD_AFTER_NS

    def should_stop(self) -> bool:
        return False

    should_stop_opening = should_leave = should_stop

    def fileno(self) -> int:
        return self._silent


def main() -> None:
    port, messages, *options = sys.argv[1:]
    values: dict[str, Any] = dict(option.split("=", 1) for option in options)
    if "send" in values:
        values["send"] = [values["send"]]
    profile, sources = load_profile(
        None, {"workers": "1", "pin": False, "warmup": "0s", "messages": messages, **values}
    )
    target = Target(ADDRESS, (ADDRESS,), int(port))
    plan = build_plan(profile, sources, read_host(), target, ChosenEngine(EngineName.NATIVE))
    board = Board(BoardLayout(1, len(plan.load.phases), plan.load.highest_ns, plan.load.journey))
    [shard] = split(plan.load, plan.here, target.port)
    shard = msgspec.structs.replace(shard, script=pool_of(plan.load))
    get_engine(EngineName.NATIVE).blast(shard, board.slots[0], Scripted(), None)
    replied = sum(page.counters[COUNTERS.index("replied")] for page in board.slots[0].pages)
    if replied < int(messages):
        raise SystemExit(f"{replied} of {messages} messages were replied to")


if __name__ == "__main__":
    main()
