"""What Python may tell the compiled core, and what that gives back (module.c, types.c, rows.c)."""

from __future__ import annotations

import ctypes
import gc
import mmap
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvloop

from loadkit.measure.board import BoardLayout
from loadkit.units import NS_PER_S
from loadkit.wire.echo import Echo
from loadkit.wire.script import pack_patch
from tests.engine.conftest import LOOPBACK, Blast, Server, serve_options, wait_for

from .by_hand import (
    IS_SANITIZED,
    _core,
    a_phase,
    a_route,
    allocated_bytes,
    any_script,
    arguments,
    changed,
    memory_bytes,
    open_files,
    rule_values,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("close", "exchanges"),
    # A FIN leaves its port in TIME_WAIT for a minute (tcp(7)), and there are 28,000.
    [pytest.param("rst", 40_000, id="rst"), pytest.param("fin", 3_000, id="fin")],
)
def test_churned_connections_leave_neither_files_nor_memory_behind(
    server: Server, blast: Blast, close: str, exchanges: int
) -> None:
    port, board, _control = server()

    def churn(messages: int) -> None:
        blasting = blast(port, connections="50", messages=str(messages), lifetime="0", close=close, timeout="60s")
        blasting.end_ramp()
        whole = blasting.end()
        assert blasting.phase("hold").counters["replied"] == messages
        assert whole.errors == {}
        assert whole.counters["opened"] >= messages
        wait_for(lambda: board.slots[0].get("open") == 0)

    churn(1_000)  # what is had once and kept: threads' arenas, buffers, imports
    gc.collect()
    files, before, objects = open_files(), allocated_bytes(), sys.getallocatedblocks()
    churn(exchanges)
    gc.collect()
    # The least that malloc hands out is 32 bytes. Half of that for each is none for most.
    assert allocated_bytes() - before < 16 * exchanges
    assert sys.getallocatedblocks() - objects < exchanges // 2
    # What others left may have gone, and the last ones may still be on their way out.
    wait_for(lambda: open_files() <= files)


ECHO = rule_values(Echo(check=True))

BAD_BLASTS: dict[str, dict[str, Any]] = {
    "no phase": {"phases": ()},
    "a phase that is none": {"phases": (1, 2, 3)},
    "a phase that is a tuple": {"phases": ((1, 2),) * 3},
    "a phase too short": {"phases": ({"duration_ns": 1},) * 3},
    "a phase with a name unheard of": {"phases": ({**a_phase(1), "colour": 1},) * 3},
    "a pace that is no number": {"phases": ({**a_phase(1), "start_hz": float("nan")},) * 3},
    "phases as a list": {"phases": []},
    "no drain at the end": {"phases": (a_phase(1),) * 3},
    "no route": {"routes": ()},
    "no destination": {"routes": (a_route(destination=None),)},
    "options that are none": {"options": None},
    "a route that is none": {"routes": ("127.0.0.1",)},
    "a route too short": {"routes": ({"destination": LOOPBACK},)},
    "no connection on any route": {"routes": (a_route(connections=0),)},
    "fewer connections than none": {"routes": (a_route(connections=-1), a_route(connections=2))},
    "a name for an address": {"routes": (a_route(destination="localhost"),)},
    "a name for a source": {"routes": (a_route(source="localhost"),)},
    "an address behind a good one": {"routes": (a_route(), a_route(destination=""))},
    "ports beyond the last": {"routes": (a_route(port_low=1000, port_high=65536, next_port=1000),)},
    "a next port outside of the range": {"routes": (a_route(port_low=1000, port_high=2000, next_port=2001),)},
    "nothing may be opening": {"opening": 0},
    "awake for minutes": {"awake_ns": 60 * NS_PER_S},
    "no such time of idleness": {"keepalive_s": -1},
    "a script that is none": {"script": ("abc",)},
    "a script without content": {"script": any_script(b"", 1)},
    "a script without a message": {"script": any_script(b"abc")},
    "a script with a longer period": {"script": any_script(b"abc", 3, period=4)},
    "a script with no place to begin": {"script": any_script(b"abc", 3, starts=0)},
    "a script with places that are the same": {"script": any_script(b"abc", 3, block=0)},
    "a message of no bytes": {"script": any_script(b"abc", 3, 3)},
    "a first message of no bytes": {"script": any_script(b"abc", 0, 3)},
    "a message that ends before it begins": {"script": any_script(b"abc", 3, 2)},
    "ends that are no words": {"script": (b"abc", 3, (3,), b"", 1, 1)},
    "a patch of no digits": {"script": any_script(b"abc", 3, patches=(pack_patch(0, 0, 0),))},
    "a patch of 20 digits": {"script": any_script(bytes(30), 30, patches=(pack_patch(0, 20, 0),))},
    "a patch past the end": {"script": any_script(b"abc", 3, patches=(pack_patch(2, 2, 0),))},
    "a patch of nothing known": {"script": any_script(b"abc", 3, patches=(pack_patch(0, 1, 4),))},
    "a patch before the beginning": {"script": any_script(b"abc", 3, patches=(pack_patch(-1, 1, 0),))},
    "patches over each other": {"script": any_script(b"abc", 3, patches=(pack_patch(0, 2, 0), pack_patch(1, 2, 0)))},
    "a patch in content that is not whole messages": {"script": any_script(b"abc", 2, patches=(pack_patch(0, 1, 0),))},
    "a rule that is none": {"rule": None},
    "a rule with nothing in it": {"rule": {}},
    "a wire that is none": {"rule": {**ECHO, "wire": 99}},
    "a reply of no bytes": {"rule": {**ECHO, "wire": 1}},
    "a delimiter of no bytes": {"rule": {**ECHO, "wire": 2}},
    "a delimiter of 17 bytes": {"rule": {**ECHO, "wire": 2, "delimiter": bytes(17)}},
    "a length of 9 bytes": {"rule": {**ECHO, "wire": 3, "width": 9}},
    "a set-up as a list": {"setup": []},
    "a step that is none": {"setup": (1,)},
    "a step of text": {"setup": (("a", None),)},
    "a step without a rule": {"setup": ((b"a", {}),)},
    "a step that an echo replies to": {"setup": ((b"a", ECHO),)},
    "a right step before a wrong one": {"setup": ((b"a", None), (b"b", 1))},
    "too many steps": {"setup": ((b"a", None),) * 65},
    "no depth": {"depth": 0},
    "a depth that wraps to none": {"depth": 2**32},
    "a depth that wraps to one": {"depth": 2**32 + 1},
    "nothing at most": {"most_slots": 0},
    "a port beyond the last": {"port": 65536},
    "a port before the first": {"port": -1},
    "a part of nothing": {"of": 0},
    "a part past the last": {"index": 1},
    "too large a number": {"timeout_ns": 2**63},
    "text for a number": {"depth": "1"},
    "a control that is no file": {"control_fd": -1},
    "settings that are none": {"settings": (1,)},
    "a setting without a value": {"settings": ({"family": 0, "level": 1, "number": 7},)},
    "a value that is no bytes": {"settings": ({"family": 0, "level": 1, "number": 7, "value": 1},)},
    "a value that is too long": {"settings": ({"family": 0, "level": 1, "number": 7, "value": bytes(65)},)},
    "more settings than a slot has room for": {"settings": ({"family": 0, "level": 1, "number": 7, "value": b""},) * 9},
    "words that are none": {"words": None},
    "words that are text": {"words": "words"},
    "words that cannot be written": {"words": bytes(8 * 10_000)},
    "no words": {"words": np.zeros(0, np.int64)},
    "words of no layout": {"words": np.zeros(10_001, np.int64)},
    "a seed below 0": {"seed": -1},
    "pauses that are none": {"pauses": (1, 2)},
    "pauses of no point": {"pauses": (b"", b"", 0, 1, 7), "depth": 1},
    "pauses of half a point": {"pauses": (bytes(17), bytes(17), 0, 1, 7), "depth": 1},
    "pauses of shares alone": {"pauses": (bytes(16), bytes(24), 0, 1, 7), "depth": 1},
    "pauses of several messages": {"pauses": (bytes(16), bytes(16), 0, 1, 7), "depth": 2},
    "an argument unheard of": {"colour": "red"},
}

BAD_SERVES: dict[str, dict[str, Any]] = {
    "a listener that is no file": {"listeners": (-1,)},
    "a listener that is text": {"listeners": ("0",)},
    "a listener beyond all files": {"listeners": (2**40,)},
    "listeners as a list": {"listeners": []},
    "a control that is no file": {"control_fd": -1},
    "text for a number": {"idle_timeout_ns": "1"},
    "words that cannot be written": {"words": bytes(8 * 10_000)},
    "words of no layout": {"words": np.zeros(10_001, np.int64)},
    "an argument unheard of": {"colour": "red"},
}

REFUSALS = (TypeError, ValueError, OverflowError, OSError)

TIMES = 50


def give_up(kind: Any, good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Asserts that it refuses, and keeps nothing of what it had taken by then."""
    values = changed(good, bad)
    words = values["words"]

    def refuse() -> None:
        with pytest.raises(REFUSALS):
            kind(**values)

    refuse()
    gc.collect()
    files, address_space, references = open_files(), memory_bytes("VmSize"), sys.getrefcount(words)
    for _ in range(TIMES):
        refuse()
    gc.collect()
    assert open_files() == files
    assert words is None or sys.getrefcount(words) == references
    if not IS_SANITIZED:
        # One buffer of it is 256 KiB; so many of those are 12 MiB.
        assert memory_bytes("VmSize") - address_space < 4 * 2**20


def test_a_connection_takes_no_more_of_a_worker_s_memory_than_it_did() -> None:
    """An end of a million connections: a byte here is a megabyte there. tests/bench/memory.py measures the rest."""
    assert _core.CONNECTION_BYTES <= 104
    assert _core.PEER_BYTES <= 48


@pytest.mark.parametrize("bad", BAD_BLASTS.values(), ids=BAD_BLASTS)
def test_a_blast_that_makes_no_sense_is_refused_and_leaves_nothing_behind(bad: dict[str, Any]) -> None:
    words = np.zeros(BoardLayout(1, 3, NS_PER_S).slot_words, np.int64)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        give_up(_core.Blast, arguments(words, mine.fileno()), bad)


@pytest.mark.parametrize("bad", BAD_SERVES.values(), ids=BAD_SERVES)
def test_a_serve_that_makes_no_sense_is_refused_and_leaves_nothing_behind(bad: dict[str, Any]) -> None:
    words = np.zeros(BoardLayout(1, 1, 0).slot_words, np.int64)
    mine, theirs = socket.socketpair()
    with mine, theirs, socket.create_server((LOOPBACK, 0)) as listener:
        give_up(_core.Serve, serve_arguments(words, mine.fileno(), listener.fileno()), bad)


def serve_arguments(words: Any, control_fd: int, listener: int) -> dict[str, Any]:
    """Everything a Serve has to be told."""
    return {
        "words": words,
        "control_fd": control_fd,
        "options": serve_options(),
        "listeners": (listener,),
        "settings": (),
        "tokens": None,
        "machine": bytes(16),
    }


@pytest.fixture(params=["Blast", "Serve"])
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of the two, whatever its turns do."""
    mine, theirs = socket.socketpair()
    with mine, theirs, socket.create_server((LOOPBACK, 0)) as listener:
        if request.param == "Blast":
            layout = BoardLayout(1, 3, NS_PER_S)
            opened: Any = _core.Blast(**arguments(np.zeros(layout.slot_words, np.int64), mine.fileno()))
        else:
            words = np.zeros(BoardLayout(1, 1, 0).slot_words, np.int64)
            opened = _core.Serve(**serve_arguments(words, mine.fileno(), listener.fileno()))
        yield opened
        opened.close()


METHODS = {
    "fileno": (),
    "open_first": (0,),
    "came": (),
    "start": (0, 1.0, 0, 1, 1),
    "stop_opening": (),
    "look_at_tcp": (4,),
    "begin_phases": (0,),
    "stop": (0,),
    "leave": (),
    "turn": (0,),
}


def methods_of(core: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields those that the core has, with values that they take."""
    for name, values in METHODS.items():
        if hasattr(core, name):
            yield name, (0, 0) if name == "stop" and isinstance(core, _core.Serve) else values


def test_a_loop_s_empty_buffer_is_given_back_and_reads_as_before() -> None:
    loop = uvloop.new_event_loop()
    length = type(loop).__basicsize__
    before = ctypes.string_at(id(loop), length)
    # Its buffer for reads, 256,000 bytes, less what stands beside it in its first and its last page.
    assert 256_000 - 2 * mmap.PAGESIZE <= _core.give_back_zeros(loop) <= length
    assert ctypes.string_at(id(loop), length) == before
    # And is written to again.
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        theirs.sendall(b"x" * 1000)
        assert loop.run_until_complete(loop.sock_recv(mine, 2000)) == b"x" * 1000
    loop.close()
    assert _core.give_back_zeros(object()) == 0


def test_a_closed_core_refuses_every_method_but_close(core: Any) -> None:
    core.close()
    core.close()
    for name, values in methods_of(core):
        with pytest.raises(ValueError, match="closed"):
            getattr(core, name)(*values)


def test_a_method_refuses_what_is_no_time(core: Any) -> None:
    for name, values in methods_of(core):
        for bad in ((), ("soon",), (2**63,), (*values, 1)) if values else ():
            with pytest.raises((TypeError, OverflowError)):
                getattr(core, name)(*bad)


def test_a_core_gives_everything_back_when_closed_or_forgotten() -> None:
    words = np.zeros(BoardLayout(1, 3, NS_PER_S).slot_words, np.int64)
    mine, theirs = socket.socketpair()

    def begin(is_closed: bool) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            core = _core.Blast(**changed(arguments(words, mine.fileno()), {"port": listener.getsockname()[1]}))
            core.start(time.monotonic_ns(), 1000.0, 0, 1, 1)
            wait_for(lambda: core.turn(0) >= 0 and words[2] == 1)  # one is open
            words[2] = 0
            if is_closed:
                core.close()

    with mine, theirs:
        begin(is_closed=True)
        gc.collect()
        files, address_space, references = open_files(), memory_bytes("VmSize"), sys.getrefcount(words)
        for number in range(TIMES):
            begin(is_closed=number % 2 == 0)
        gc.collect()
        assert open_files() == files
        assert sys.getrefcount(words) == references
        if not IS_SANITIZED:
            assert memory_bytes("VmSize") - address_space < 4 * 2**20
