"""The compiled core without an engine around it: made by hand, and given one turn at a time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import termios
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from loadkit.engine.compiled import native_missing
from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.samples import PhaseSamples, read_worker
from loadkit.plan.pacing import LinearPace
from loadkit.run.worker import listen_on
from loadkit.units import NS_PER_S
from loadkit.wire.echo import Echo, echo_script
from tests.engine.conftest import LOOPBACK, TIMEOUT_S, serve_options, wait_for

if missing := native_missing():
    pytest.skip(f"the native engine: {missing}", allow_module_level=True)

from loadkit.engine.native import _core
from loadkit.engine.native.rows import rule_values, script_values

# AddressSanitizer keeps freed memory in quarantine: there LeakSanitizer's word is the one that counts (sanitize.py).
IS_SANITIZED = "sanitize" in _core.__file__


# Few enough examples for a few seconds. What the fixtures hand out is shared between them on purpose.
pieces_of_anything = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def reset(sock: socket.socket) -> None:
    """Closes by RST, as socket(7) has it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# So that many small pieces do not take minutes: from then on everything goes at once.
MOST_PIECES = 300


class Core:
    """A Blast whose turns the test takes, with a board and a control of its own: two phases and a drain, or others."""

    def __init__(self, **changes: Any) -> None:
        highest_ns = changes.pop("highest_ns", 3600 * NS_PER_S)
        self.sockets = list(socket.socketpair())
        self.board = Board(BoardLayout(1, len(changes.get("phases", ())) or 3, highest_ns))
        self.slot = self.board.slots[0]
        self.blast = _core.Blast(**changed(arguments(self.slot.words, self.sockets[0].fileno()), changes))

    def __enter__(self) -> Core:
        return self

    def __exit__(self, *_: object) -> None:
        self.blast.close()
        for sock in self.sockets:
            sock.close()
        self.board.close()

    def turn(self, linger_ns: int = 1_000_000) -> None:
        """Works on; without a time to linger it does what is due and looks for no events."""
        self.blast.turn(linger_ns)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        """Takes turns until it is so."""

        def is_so() -> bool:
            self.turn()
            return condition()

        wait_for(is_so)

    def open_one(self, listener: socket.socket) -> None:
        """Opens a connection, and answers its first message: nothing is under way then."""
        self.blast.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
        self.turn_until(lambda: self.slot.get("open") == 1)
        self.sockets.append(listener.accept()[0])
        self.sockets[-1].sendall(self.sockets[-1].recv(64))
        self.turn_until(lambda: self.slot.get("answered") == 1)

    def phase(self, index: int) -> PhaseSamples:
        return read_worker(self.board, 0).phases[index]


@dataclass
class Turns:
    """A Serve whose turns the test takes, and the port that it listens at."""

    core: _core.Serve
    board: Board
    port: int

    def counters(self) -> dict[str, int]:
        return dict(read_worker(self.board, 0).phases[0].counters)

    def turn(self) -> dict[str, int]:
        """Has one turn, of one wait; returns what it added to the counters."""
        before = self.counters()
        self.core.turn(1)
        after = self.counters()
        return {name: after[name] - before[name] for name in after}

    def turn_until(self, counter: str, count: int) -> list[int]:
        """Has turns, each when something has come, until a counter grew by so much; returns by how much in each."""
        grown: list[int] = []
        ready = select.poll()
        ready.register(self.core.fileno(), select.POLLIN)
        deadline = time.monotonic() + TIMEOUT_S
        while sum(grown) < count:
            assert time.monotonic() < deadline, f"{counter} grows by {sum(grown)} of {count}"
            ready.poll(5)
            grown.append(self.turn()[counter])
        return grown


@contextlib.contextmanager
def serve_turns(**options: int) -> Iterator[Turns]:
    """Makes a worker of the serve end that has a turn when it is told to."""
    with contextlib.ExitStack() as stack:
        [listener] = map(stack.enter_context, listen_on((LOOPBACK,), 0, 4096))
        ours, _theirs = map(stack.enter_context, socket.socketpair())
        board = stack.enter_context(contextlib.closing(Board(BoardLayout(1, 1, 10**10))))
        core = _core.Serve(
            words=board.slots[0].words,
            control_fd=ours.fileno(),
            options=serve_options(**options),
            listeners=(listener.fileno(),),
            settings=(),
            tokens=None,
            machine=bytes(16),
        )
        stack.enter_context(contextlib.closing(core))
        yield Turns(core, board, listener.getsockname()[1])


def arguments(words: Any, control_fd: int) -> dict[str, Any]:
    """Everything a Blast has to be told."""
    second = NS_PER_S
    return {
        "words": words,
        "control_fd": control_fd,
        "options": {
            "lifetime_ns": -1,
            "timeout_ns": 10 * second,
            "connect_timeout_ns": 5 * second,
            "held_ns": second // 100,
            "messages": -1,
            "depth": 65536,
            "index": 0,
            "of": 1,
            "opening": 16,
            "awake_ns": 100_000,
            "keepalive_s": 0,
            "is_endless": False,
            "is_timed": True,
            "is_checked": True,
            "closes_by_rst": True,
            "connects_in_a_loop": False,
            "is_edge_triggered": False,
            "chooses_ports": False,
            "reads_stamps": False,
            "proxy_version": 0,
            "port": 9,
            "most_slots": 16,
            "is_random": False,
            "seed": 0,
        },
        "script": a_script(1),
        "rule": rule_values(Echo(check=True)),
        "setup": (),
        "phases": (a_phase(second), a_phase(3600 * second), a_phase(second, is_drain=True)),
        "routes": (a_route(),),
        "settings": (),
        "probes": (),
        "pauses": (),
    }


def changed(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments with others in place of some; those that are options are changed there."""
    options = {name: value for name, value in changes.items() if name in good["options"]}
    more = {name: value for name, value in changes.items() if name not in good["options"]}
    return {**good, "options": {**good["options"], **options}, **more}


def a_script(size: int, depth: int = 16) -> tuple[Any, ...]:
    """An echo's script as the core is told of it."""
    return script_values(echo_script(size), depth)


def any_script(content: bytes, *ends: int, **changes: Any) -> tuple[Any, ...]:
    """The same of any script, whether it can be one or not."""
    period, patches, block, starts = len(content), (), 1, 1
    values = {"period": period, "ends": ends, "patches": patches, "block": block, "starts": starts, **changes}
    words = (array("q", values["ends"]), array("q", values["patches"]))
    return content, values["period"], *words, values["block"], values["starts"]


def a_route(**changes: Any) -> dict[str, Any]:
    """A route as the core is told of it."""
    ports = {"port_low": 0, "port_high": 0, "next_port": 0}
    return {"source": None, "destination": LOOPBACK, "connections": 1, **ports, "may_meet_itself": False, **changes}


def a_phase(duration_ns: int, pace: LinearPace | None = None, is_drain: bool = False) -> dict[str, Any]:
    """A phase as the core is told of it, with one connection and a pace."""
    change = (pace.end_hz - pace.start_hz) / (pace.duration_ns / NS_PER_S) if pace else 0.0
    return {
        "duration_ns": duration_ns,
        "connections": 1,
        "is_drain": is_drain,
        "is_paced": bool(pace),
        "is_measured": bool(pace),
        "start_hz": pace.start_hz if pace else 0.0,
        "change_hz_per_s": change,
        "total": pace.total() if pace else 0,
        "fewer": 0,
    }


def paced(pace: LinearPace) -> tuple[Any, ...]:
    second = NS_PER_S
    return (a_phase(second), a_phase(pace.duration_ns, pace), a_phase(second, is_drain=True))


def two_holds(first: LinearPace, second: LinearPace) -> tuple[Any, ...]:
    """A ramp, two phases on a schedule and a drain."""
    paces = (a_phase(pace.duration_ns, pace) for pace in (first, second))
    return (a_phase(NS_PER_S), *paces, a_phase(NS_PER_S, is_drain=True))


def send_one(core: Core, listener: socket.socket) -> None:
    """Opens a connection and sends the phase's only message on it."""
    core.open_one(listener)
    core.blast.begin_phases(time.monotonic_ns())
    core.turn_until(lambda: core.phase(1).counters["sent"] == 1)


def lose_edges(
    epoll_fd: int, events: int, connections: int = 1, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Waits in an edge-triggered core's place until so many are reported: an edge is reported once (epoll(7)).

    `events` are those of the edge, and each connection is writable as well: the timer and the parent are not. What
    `meanwhile` does is done again and again: nothing else may have the edge come.
    """
    lost = set[int]()
    wanted = events | select.EPOLLOUT
    with select.epoll.fromfd(os.dup(epoll_fd)) as epoll:

        def are_lost() -> bool:
            meanwhile()
            lost.update(token for token, reported in epoll.poll(0) if reported & wanted == wanted)
            return len(lost) == connections

        wait_for(are_lost)


def unacknowledged(sock: socket.socket) -> int:
    """Returns how many bytes are sent and not known to have come (tcp(7), SIOCOUTQ)."""
    found = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(found, sys.byteorder)


def open_files() -> int:
    """How many there are, without those of the boards, which the fixtures keep."""
    targets = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            targets.append(str(file.readlink()))
    return sum("loadkit-board" not in target for target in targets)


def memory_bytes(key: str) -> int:
    """One of the sizes in /proc/self/status: VmSize has reservations too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{key}:")]
    return int(line.split()[1]) * 1024


# Of these, `uordblks` are the bytes in use in arenas and `hblkhd` those in maps of their own.
_MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo(ctypes.Structure):
    """Mallinfo2 of malloc.h (mallinfo(3))."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO.split())


def allocated_bytes() -> int:
    """How much malloc has handed out in this process, in all of its arenas; 0 if the C library does not say."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = _Mallinfo
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)
