"""Engines run in threads of the test, over real sockets on port 0, with a control the test holds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from loadkit.engine.base import Engine
from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.samples import PhaseSamples, WorkerSamples, merge, read_worker
from loadkit.plan.build import build_plan, build_serve_plan
from loadkit.plan.model import Plan, Target
from loadkit.plan.split import split
from loadkit.profile.load import load_profile
from loadkit.profile.model import EngineName
from loadkit.run.worker import listen_on

TIMEOUT_S = 60.0


class HandControl:
    """A control whose answers the test sets; `hold_after_ramp` plays the parent that ends the ramp."""

    def __init__(self) -> None:
        self._mine, self._theirs = socket.socketpair()
        self.start_ns: int | None = None
        self.hold_ns: int | None = None
        self.stop = False
        self.leave = False
        self.is_ready = threading.Event()

    def ready(self) -> None:
        self.is_ready.set()

    def wait_start(self) -> int:
        return time.monotonic_ns() + 1_000_000

    def hold_start(self) -> int | None:
        self._hear()
        return self.hold_ns

    def should_stop(self) -> bool:
        self._hear()
        return self.stop

    def should_leave(self) -> bool:
        self._hear()
        return self.leave

    def fileno(self) -> int:
        return self._mine.fileno()

    def _hear(self) -> None:
        self._mine.setblocking(False)
        try:
            while self._mine.recv(64):
                pass
        except BlockingIOError:
            pass

    def say(self, **words: Any) -> None:
        """Sets answers and makes the file descriptor readable."""
        for name, value in words.items():
            setattr(self, name, value)
        self._theirs.send(b"!")

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()


class Blasting:
    """A shard under way in a thread."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self.plan = plan
        self.board = Board(BoardLayout(plan.workers, len(plan.phases), plan.highest_ns))
        self.control = HandControl()
        self.failure: BaseException | None = None
        [self.shard] = split(plan)
        self._engine = engine
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._engine.blast(self.shard, self.board.slots[0], self.control)
        except BaseException as error:
            self.failure = error

    def end_ramp(self) -> None:
        """Waits until every first connection is settled, then lets the phases begin."""
        wait_for(lambda: self.board.slots[0].get("settled") >= self.plan.phases[0].connections or self.is_over())
        self.control.say(hold_ns=time.monotonic_ns() + 5_000_000)

    def is_over(self) -> bool:
        return not self.thread.is_alive()

    def end(self) -> WorkerSamples:
        """Waits for the end and returns what was recorded."""
        self.thread.join(TIMEOUT_S)
        assert self.is_over(), "the engine does not end"
        self.control.close()
        if self.failure:
            raise self.failure
        return read_worker(self.board, 0)

    def phase(self, name: str) -> PhaseSamples:
        """Returns a phase by its name."""
        index = [phase.name for phase in self.plan.phases].index(name)
        return read_worker(self.board, 0).phases[index]

    def whole(self) -> PhaseSamples:
        """Returns the phases added up."""
        return merge(read_worker(self.board, 0).phases, self.plan.highest_ns)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.005)


@pytest.fixture(params=["native", "uvloop", "asyncio"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that moves bytes."""
    return get_engine(EngineName(request.param))


@pytest.fixture
def server(engine: Engine) -> Iterator[Callable[..., tuple[int, Board, HandControl]]]:
    """Serves in a thread; returns port, board and control."""
    started: list[tuple[threading.Thread, HandControl]] = []

    def serve(**more: Any) -> tuple[int, Board, HandControl]:
        plan = build_serve_plan(read_host(), ("127.0.0.1",), 0, workers=1, **more)
        listeners = listen_on(plan.addresses, 0, plan.backlog)
        board = Board(BoardLayout(1, 1, 0))
        control = HandControl()
        thread = threading.Thread(target=engine.serve, args=(plan, listeners, board.slots[0], control), daemon=True)
        thread.start()
        started.append((thread, control))
        assert control.is_ready.wait(TIMEOUT_S)
        return listeners[0].getsockname()[1], board, control

    yield serve
    for thread, control in started:
        if thread.is_alive():
            control.say(leave=True)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        control.close()


@pytest.fixture
def blast(engine: Engine) -> Iterator[Callable[..., Blasting]]:
    """Blasts in a thread, with options as on the command line."""
    started: list[Blasting] = []

    def start(port: int, **options: Any) -> Blasting:
        values = {"workers": "1", "warmup": "0s", "pin": False, **options}
        profile, sources = load_profile(None, values)
        target = Target("127.0.0.1", ("127.0.0.1",), port)
        host = replace(read_host(), nofile_hard=20_000)
        blasting = Blasting(engine, build_plan(profile, sources, host, target))
        started.append(blasting)
        return blasting

    yield start
    for blasting in started:
        if not blasting.is_over():
            blasting.control.say(leave=True)
            blasting.thread.join(TIMEOUT_S)
