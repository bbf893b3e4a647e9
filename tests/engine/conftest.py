"""Engines run in threads of the test, over real sockets on port 0, with a control the test holds."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadkit.engine.base import Engine
from loadkit.engine.compiled import native_missing
from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.names import PROOFS
from loadkit.measure.samples import PhaseSamples, merge, read_board
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.load import Load
from loadkit.plan.serve import SETTLE_NS, ServePlan, build_serve_plan
from loadkit.plan.split import Shard, split
from loadkit.plan.target import Route, Target
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile, load_serve_profile
from loadkit.run.places import hold_place
from loadkit.run.worker import listen_on
from loadkit.units import NS_PER_S
from loadkit.wire.setup import Step
from loadkit.wire.wires import Wire
from tests.golden.made_up import changed
from tests.under_way import PATIENCE_S, wait_for

TIMEOUT_S = PATIENCE_S
LOOPBACK = "127.0.0.1"

# What the contract holds for: the engine, and whether it watches its sockets edge-triggered.
ENGINES = {
    "native": (EngineName.NATIVE, False),
    "native edge-triggered": (EngineName.NATIVE, True),
    "uvloop": (EngineName.UVLOOP, False),
    "asyncio": (EngineName.ASYNCIO, False),
}
EDGE_TRIGGERED = pytest.StashKey[bool]()


# What the parent says while a run goes on.
_WORDS = ("ramp_ns", "hold_ns", "stop", "enough", "leave")


class HandControl:
    """A control whose answers the test sets; `hold_ns` is what the parent says when it ends the ramp.

    `ramp_ns` is what it says when the run's first connection has had its reply.
    """

    def __init__(self, start_ns: int = 0, ramp_ns: int | None = None) -> None:
        self._mine, self._theirs = socket.socketpair()
        self.start_ns = start_ns
        self.ramp_ns = ramp_ns
        self.first_bytes: bytes | None = None  # what came on a first connection that failed
        self.times_finished = 0
        self.hold_ns: int | None = None
        self.stop = False
        self.enough = False
        self.leave = False
        self._heard: dict[str, Any] = dict.fromkeys(_WORDS)
        self._hearing = threading.Lock()
        self._stands, self._go_on = threading.Event(), threading.Event()
        self._go_on.set()
        self.is_ready = threading.Event()

    def ready(self) -> None:
        self.is_ready.set()

    def wait_start(self) -> int:
        return self.start_ns

    def hear(self) -> None:
        with self._hearing:
            self._stands.set()
            assert self._go_on.wait(TIMEOUT_S)
            with contextlib.suppress(BlockingIOError):
                while self._mine.recv(64, socket.MSG_DONTWAIT):
                    pass
            self._heard = {name: getattr(self, name) for name in _WORDS}

    def hold(self) -> tuple[threading.Event, threading.Event]:
        """Has the engine stand still when it next hears what was said: returns what says so, and what ends it.

        An engine also hears once when it begins, which may be after it has said that it is ready: what is said after
        this is heard by nobody before the end of the standstill.
        """
        with self._hearing:
            self._stands.clear()
            self._go_on.clear()
        return self._stands, self._go_on

    def has_heard(self, word: str) -> bool:
        """Whether the engine knows what was last said."""
        return bool(self._heard[word] == getattr(self, word))

    def came(self, first_bytes: bytes) -> None:
        self.first_bytes = first_bytes

    def finished(self) -> None:
        self.times_finished += 1

    def ramp_start(self) -> int | None:
        ramp_ns: int | None = self._heard["ramp_ns"]
        return ramp_ns

    def hold_start(self) -> int | None:
        hold_ns: int | None = self._heard["hold_ns"]
        return hold_ns

    def should_stop(self) -> bool:
        return bool(self._heard["stop"])

    def should_stop_opening(self) -> bool:
        return bool(self._heard["enough"])

    def should_leave(self) -> bool:
        return bool(self._heard["leave"])

    def fileno(self) -> int:
        return self._mine.fileno()

    def say(self, **words: Any) -> None:
        """Sets answers and makes the file descriptor readable."""
        for name, value in words.items():
            setattr(self, name, value)
        self._theirs.send(b"!")

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()


class Wired(Load, frozen=True, kw_only=True):
    """A load with another wire than its options say."""

    given: Wire

    @property
    def wire(self) -> Wire:
        return self.given


class Blasting:
    """A plan under way: a thread for each shard, all on one board.

    Its ramp does not wait for the first connection, unless `proves`: then the shard that opens it opens no other until
    the test says `ramp_ns`.
    """

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        proves: bool = False,
        wire: Wire | None = None,
        setup: tuple[Step, ...] = (),
    ) -> None:
        self.plan = plan
        self.board = Board(
            BoardLayout(plan.here.workers, len(plan.load.phases), plan.load.highest_ns, plan.load.journey)
        )
        self._engine = engine
        self._failures: list[BaseException] = []
        self.has_ended = False
        start_ns = time.monotonic_ns() + 5_000_000
        self._controls = [HandControl(start_ns, None if proves else start_ns) for _ in range(plan.here.workers)]
        self._threads = [
            threading.Thread(target=self._run, args=(shard, control), daemon=True)
            for shard, control in zip(self._shards(wire, setup), self._controls, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _shards(self, wire: Wire | None, setup: tuple[Step, ...]) -> Iterator[Shard]:
        for shard in split(self.plan.load, self.plan.here, self.plan.target.port, setup):
            if wire:
                shard = msgspec.structs.replace(shard, load=Wired(**msgspec.structs.asdict(shard.load), given=wire))
            yield shard

    def _run(self, shard: Shard, control: HandControl) -> None:
        try:
            before = self.board.slots[shard.index - shard.ramp.lanes] if shard.connects_before else None
            self._engine.blast(shard, self.board.slots[shard.index], control, before)
        except BaseException as error:
            self._failures.append(error)

    def say(self, **words: Any) -> None:
        """Says it to every worker."""
        for control in self._controls:
            control.say(**words)

    def settled(self) -> int:
        """How many of the first connections opened or failed."""
        return sum(slot.get("settled") for slot in self.board.slots)

    def proved(self) -> str:
        """Whether the run's first connection had a right reply: one of PROOFS."""
        return PROOFS[self.board.slots[0].get("proved")]

    def first_bytes(self) -> bytes | None:
        """What came on a first connection that failed."""
        return self._controls[0].first_bytes

    def times_finished(self) -> list[int]:
        """How often each worker has said that its traffic is over."""
        return [control.times_finished for control in self._controls]

    def has_heard(self, word: str) -> bool:
        """Whether every worker knows of it."""
        return all(control.has_heard(word) for control in self._controls)

    def end_ramp(self) -> int:
        """Waits until every first connection is settled, then lets the phases begin; returns when they do."""
        wait_for(lambda: self.settled() >= self.plan.load.phases[0].connections or self.is_over())
        hold_ns = time.monotonic_ns() + 5_000_000
        self.say(hold_ns=hold_ns)
        return hold_ns

    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def end(self) -> PhaseSamples:
        """Waits for the end and returns the whole; what has to add up after any run does."""
        self.has_ended = True
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        assert self.is_over(), "the engine does not end"
        for control in self._controls:
            control.close()
        self.board.close()  # it can still be read
        for failure in self._failures:
            raise failure
        for worker in read_board(self.board):
            for phase in worker.phases:
                assert_adds_up(phase, self.plan.load.is_timed)
            counters = merge(worker.phases, self.plan.load.highest_ns).counters
            assert counters["asked"] == counters["opened"] + counters["failed_connects"]
            assert counters["opened"] == counters["closed"]
            assert worker.state["open"] == 0
            assert worker.state["sequence"] % 2 == 0
            assert worker.state["finished_ns"] > 0
        return self.whole()

    def phase(self, name: str) -> PhaseSamples:
        """Returns a phase by its name, added up over the workers."""
        index = [phase.name for phase in self.plan.load.phases].index(name)
        return merge([worker.phases[index] for worker in read_board(self.board)], self.plan.load.highest_ns)

    def whole(self) -> PhaseSamples:
        """Returns the phases added up."""
        phases = [phase for worker in read_board(self.board) for phase in worker.phases]
        return merge(phases, self.plan.load.highest_ns)


def assert_adds_up(phase: PhaseSamples, is_timed: bool) -> None:
    counters = phase.counters
    assert counters["intended"] == counters["sent"] + counters["unsent"]
    assert counters["sent"] == counters["replied"] + counters["failed"] + counters["unanswered"]
    assert phase.histograms["latency"].count == phase.histograms["service"].count == counters["replied"]
    for name in ("lateness", "held"):
        assert phase.histograms[name].count == (counters["sent"] if is_timed else 0)


def run(blasting: Blasting) -> PhaseSamples:
    """Runs to the end and returns the whole."""
    blasting.end_ramp()
    return blasting.end()


@contextlib.contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Leaves this process `spare` file descriptors more than it has. The limit is on numbers, which may have gaps."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(file.name) for file in Path("/proc/self/fd").iterdir()}
    free = itertools.islice(itertools.filterfalse(used.__contains__, itertools.count()), spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def serve_options(**changes: int) -> dict[str, int]:
    """The options of a worker of the serve end as the compiled core is told of them."""
    return {
        "idle_timeout_ns": -1,
        "most_owed": 2**26,
        "index": 0,
        "most_slots": 100,
        "probe_peers": 0,
        "is_edge_triggered": False,
        "reads_stamps": False,
        "shares_listeners": False,
        "header_ns": 0,
        **changes,
    }


def hold_back(sock: socket.socket, held: bool) -> None:
    """Keeps what is sent from going out, or lets it go: in one segment, with the end of the stream if that was sent."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(held))


def _chosen(engine: Engine) -> ChosenEngine:
    return ChosenEngine(EngineName(engine.name))


Server = Callable[..., tuple[int, Board, HandControl]]
Blast = Callable[..., Blasting]
Behaviour = Callable[[socket.socket, int], None]
Peer = Callable[[Behaviour], int]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine that moves bytes. `server` and `blast` know from the test's stash how it watches."""
    name, edge_triggered = ENGINES[request.param]
    if name is EngineName.NATIVE and (missing := native_missing()):
        pytest.skip(missing)
    request.node.stash[EDGE_TRIGGERED] = edge_triggered
    return get_engine(name)


@pytest.fixture
def server(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serves in a thread; returns port, board and control."""
    started: list[tuple[threading.Thread, HandControl, Board]] = []
    undo = contextlib.ExitStack()

    def listen(plan: ServePlan) -> list[socket.socket]:
        if not plan.is_unix:
            return listen_on(plan.addresses, 0, plan.backlog)
        place = undo.enter_context(contextlib.closing(hold_place(plan)))
        return [socket.socket(fileno=os.dup(fd)) for fd in place.inherited]

    def serve(address: str = LOOPBACK, **more: Any) -> tuple[int, Board, HandControl]:
        more = {"edge_triggered": request.node.stash.get(EDGE_TRIGGERED, False), **more}
        app, settle_ns = more.pop("app", None), more.pop("settle_ns", SETTLE_NS)
        profile, _ = load_serve_profile(None, {"workers": 1, **more})
        chosen = _chosen(engine)
        plan = build_serve_plan(read_host(), (address,), 0, profile, engine=chosen, app=app, settle_ns=settle_ns)
        listeners = listen(plan)
        port = 0 if plan.is_unix else listeners[0].getsockname()[1]
        board = Board(BoardLayout(1, 1, 10 * NS_PER_S, limit=plan.max_connections))
        control = HandControl()
        thread = threading.Thread(target=engine.serve, args=(plan, listeners, board.slots[0], control), daemon=True)
        thread.start()
        started.append((thread, control, board))
        assert control.is_ready.wait(TIMEOUT_S)
        return port, board, control

    yield serve
    undo.close()
    for thread, control, board in started:
        if thread.is_alive():
            control.say(leave=True)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        control.close()
        board.close()


@pytest.fixture
def blast(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Blast]:
    """Blasts in threads, with options as on the command line, `phases` as in a profile, any wire and any set-up."""
    started: list[Blasting] = []

    def start(
        port: int,
        address: str = LOOPBACK,
        routes: tuple[Route, ...] = (),
        proves: bool = False,
        wire: Wire | None = None,
        setup: tuple[Step, ...] = (),
        **options: Any,
    ) -> Blasting:
        edge_triggered = request.node.stash.get(EDGE_TRIGGERED, False)
        values = {"workers": "1", "pin": False, "edge_triggered": edge_triggered, **options}
        if "phases" not in options:
            values.setdefault("warmup", "0s")
        profile, sources = load_profile(None, values)
        host = replace(read_host(), nofile_hard=20_000)
        plan = build_plan(profile, sources, host, Target(address, (address,), port), _chosen(engine))
        blasting = Blasting(engine, changed(plan, routes=routes or plan.here.routes), proves, wire, setup)
        started.append(blasting)
        return blasting

    yield start
    for blasting in started:
        if not blasting.has_ended:
            blasting.say(leave=True)
            blasting.end()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Listens, hands each connection with its number to a function in a thread of its own, and returns the port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def take(behave: Behaviour, sock: socket.socket, number: int) -> None:
        # The blast end closes by a reset when it is done.
        with sock, contextlib.suppress(OSError):
            behave(sock, number)

    def listen(listener: socket.socket, behave: Behaviour) -> None:
        with contextlib.suppress(OSError):  # the listener's end
            for number in itertools.count():
                sock, _address = listener.accept()
                begin(take, behave, sock, number)

    def begin(target: Callable[..., None], *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        threads[-1].start()

    def start(behave: Behaviour) -> int:
        listeners.append(socket.create_server((LOOPBACK, 0), backlog=64))
        begin(listen, listeners[-1], behave)
        return int(listeners[-1].getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which close() does not
        listener.close()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
