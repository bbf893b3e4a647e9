"""Probes: what every engine makes of them, at both ends, and what happens where they cannot be had."""

from __future__ import annotations

import itertools
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loadkit.engine.aio
from loadkit.engine import probes
from loadkit.engine.compiled import native_missing
from loadkit.measure.board import BoardLayout
from loadkit.measure.names import JOURNEY_SOURCES, STAGE, STAGES
from loadkit.measure.samples import PhaseSamples, read_worker
from tests.receiving import peek, receive

from .conftest import Behaviour, Blast, Blasting, Peer, Server, run, wait_for

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)

from loadkit.engine.native import _core

_BLAST_END = ("held", "late", "send", "queue", "busy", "wake", "batch", "read")
_SERVE_END = ("serve_busy", "serve_wake", "serve_batch", "serve_code")
_TRAILER = struct.Struct("<7Q")
_CHECK = 0x6C6F61646B697401
_STEPPED, _UNSTAMPED = 1, 2
_HELLO = _core.HELLO_TEXT.encode() + struct.pack("<I", 64) + bytes(4)


def journey(blast: Blast, port: int, **options: Any) -> tuple[Blasting, PhaseSamples]:
    """Runs with probes for a second; returns the run and its measured phase."""
    values = {"connections": "4", "rate": "200", "duration": "500ms", "journey": True, **options}
    blasting = blast(port, **values)
    run(blasting)
    return blasting, blasting.phase("hold")


def journey_until(
    blast: Blast, port: int, is_enough: Callable[[PhaseSamples], bool], **options: Any
) -> tuple[Blasting, PhaseSamples]:
    """Runs with probes until the measured phase has enough; returns the run and that phase."""
    values = {"connections": "4", "rate": "200", "duration": "60s", "journey": True, **options}
    blasting = blast(port, **values)
    blasting.end_ramp()
    wait_for(lambda: is_enough(blasting.phase("hold")))
    blasting.say(stop=True)
    blasting.end()
    return blasting, blasting.phase("hold")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers has the time that a busy machine takes; those that do not have less, in their tests."""
    monkeypatch.setattr(probes, "_HELLO_S", 30.0)
    monkeypatch.setattr(probes, "_OPEN_S", 60.0)


def source_of(blasting: Blasting) -> str:
    return JOURNEY_SOURCES[blasting.board.slots[0].get("journey_source")]


def stages_of(hold: PhaseSamples) -> set[str]:
    """Those that something was recorded of."""
    return {name for name in STAGES if hold.histograms[STAGE + name].count}


def has_ten(hold: PhaseSamples) -> bool:
    """Whether ten messages of probes have come all their way."""
    return hold.histograms["stage_total"].count >= 10


def assert_telescopes(hold: PhaseSamples) -> None:
    """The stages of every message add up to its total: by the rows of totals, and over all."""
    total = hold.histograms["stage_total"]
    assert total.count >= 10
    assert (hold.tails[:, 1:-1].sum(axis=1) == hold.tails[:, -1]).all()
    assert hold.tails[:, 0].sum() == total.count
    sums = {name: hold.histograms[STAGE + name] for name in stages_of(hold)}
    del sums["total"]
    assert sum(one.sum_ns for one in sums.values()) == total.sum_ns
    assert {one.count for one in sums.values()} == {total.count}


def test_the_stages_of_both_ends_add_up_to_the_total(server: Server, blast: Blast) -> None:
    port, board, _ = server()
    blasting, hold = journey_until(blast, port, has_ten)
    assert source_of(blasting) == "same_clock"
    assert stages_of(hold) == {*_BLAST_END, *_SERVE_END, "there", "back", "total"}
    assert_telescopes(hold)
    counters = hold.counters
    assert counters["probes_lost"] == 0
    assert counters["journeys_unstamped"] < 20  # the kernel begins to stamp a moment after it was first asked to
    assert counters["journeys_stepped"] + counters["journeys_disordered"] < 20
    # They are connections of their own, beside those that were asked for.
    assert read_worker(board, 0).phases[0].counters["opened"] == blasting.whole().counters["opened"] == 4
    assert read_worker(board, 0).phases[0].counters["probes"] == 4


def test_the_probes_wake_ups_are_counted_apart_and_their_error_queues_wake_nobody(server: Server, blast: Blast) -> None:
    port, board, _ = server()
    blasting, hold = journey(blast, port, rate="50")
    messages = hold.histograms["stage_total"].count
    whole, served = blasting.whole().counters, read_worker(board, 0).phases[0].counters
    for counters in (whole, served):
        assert messages / 2 <= counters["probe_events"] <= counters["events"]
        assert 0 < counters["probe_wakeups"] <= counters["probe_events"]
    # An error queue that is not drained wakes the loop tens of thousands of times.
    assert whole["wakeups"] < 5_000


def test_a_serve_end_with_another_clock_leaves_the_network_as_one_stage(
    server: Server, blast: Blast, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _, _ = server()
    monkeypatch.setattr(probes, "machine_key", lambda: bytes(16))
    blasting, hold = journey_until(blast, port, has_ten)
    assert source_of(blasting) == "other_clock"
    assert stages_of(hold) == {*_BLAST_END, *_SERVE_END, "network", "total"}
    assert_telescopes(hold)


def test_any_echo_is_one_stage_and_is_never_told_of_trailers(peer: Peer, blast: Blast) -> None:
    heard: dict[int, bytearray] = {}

    def echo(sock: socket.socket, number: int) -> None:
        heard[number] = bytearray()
        while chunk := sock.recv(65536):
            heard[number] += chunk
            sock.sendall(chunk)

    blasting, hold = journey_until(blast, peer(echo), has_ten)
    assert source_of(blasting) == "foreign"
    assert stages_of(hold) == {*_BLAST_END, "peer", "total"}
    assert_telescopes(hold)
    probed = [said for said in heard.values() if said.startswith(_HELLO)]
    assert len(probed) == 4
    assert all((len(said) - len(_HELLO)) % 64 == 0 for said in probed)


def welcome(sock: socket.socket) -> bytes:
    """What a serve end on this machine answers a hello with."""
    number = _core.connection_number(probes.machine_key(), sock.fileno(), True, 0)
    return _core.WELCOME_TEXT.encode() + struct.pack("<Q", number)


def stamped(sock: socket.socket, number: int, flags: int = 0, check: int = _CHECK, **changes: int) -> bytes:
    """The trailer of message `number` (from 1) from a serve end that has just now read and written."""
    now = time.time_ns()
    times = {"rx": now - 4000, "call": now - 9000, "wakeup": now - 3000, "read": now - 2000, "write": now - 1000}
    moved_by = _core.connection_number(probes.machine_key(), sock.fileno(), True, number)
    words = [(moved_by + time) % 2**64 for time in {**times, **changes}.values()]
    return _TRAILER.pack(*words, flags, check)


def serve_end(trailer: Callable[[socket.socket, int], bytes]) -> Behaviour:
    """Returns a peer that answers probes with that trailer, and echoes to others."""

    def serve(sock: socket.socket, _number: int) -> None:
        if peek(sock, 47) != _HELLO:
            while chunk := sock.recv(65536):
                sock.sendall(chunk)
            return
        sock.recv(47)
        sock.sendall(welcome(sock))
        for number in itertools.count(1):
            message = receive(sock, 64)
            if not message:
                return
            sock.sendall(message + trailer(sock, number))

    return serve


@pytest.mark.parametrize(
    ("changes", "counter"),
    [
        pytest.param({"flags": _STEPPED}, "journeys_stepped", id="the clock was set"),
        pytest.param({"flags": _UNSTAMPED}, "journeys_unstamped", id="no stamp"),
        pytest.param({"rx": time.time_ns() + 10**11}, "journeys_disordered", id="came a minute later"),
        pytest.param({"rx": time.time_ns() - 10**11}, "journeys_disordered", id="came before it was sent"),
        pytest.param({"rx": 0}, "journeys_disordered", id="came in 1970"),
        pytest.param({"write": 2**63 - 1}, "journeys_disordered", id="at the end of time"),
        pytest.param({"call": 2**63}, "journeys_disordered", id="before all time"),
        pytest.param({"check": 1}, "probes_lost", id="not a trailer"),
    ],
)
def test_what_a_serve_end_says_wrong_is_left_out_and_counted(
    changes: dict[str, int], counter: str, peer: Peer, blast: Blast
) -> None:
    serve = serve_end(lambda sock, number: stamped(sock, number, **changes))
    blasting, hold = journey_until(blast, peer(serve), lambda hold: hold.counters[counter] >= 2)
    assert source_of(blasting) == "same_clock"
    assert hold.histograms["stage_total"].count == 0
    assert blasting.whole().counters["failed"] == 0


def test_what_a_serve_end_says_right_is_measured(peer: Peer, blast: Blast) -> None:
    def right(sock: socket.socket, number: int) -> bytes:
        now = time.time_ns()
        return stamped(sock, number, **dict.fromkeys(("rx", "call", "wakeup", "read", "write"), now))

    _blasting, hold = journey_until(blast, peer(serve_end(right)), has_ten)
    assert_telescopes(hold)


def test_a_probe_that_is_closed_is_lost_and_the_run_goes_on(peer: Peer, blast: Blast) -> None:
    def close_soon(sock: socket.socket, number: int) -> None:
        echoed = 0
        while chunk := sock.recv(65536):
            sock.sendall(chunk)
            echoed += len(chunk)
            if echoed > 47 and (echoed - 47) % 64 == 0:
                return

    # Ordinary connections get three messages' worth at the most here, and are never of a hello's length.
    blasting, _hold = journey_until(
        blast, peer(close_soon), lambda hold: hold.counters["probes_lost"] == 4, connections="1", rate="1"
    )
    assert source_of(blasting) == "foreign"


def refuse_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sock: socket.socket) -> None:
        raise probes.NoProbes("no_stamps")

    monkeypatch.setattr(probes, "_check_stamps", refuse)


def hide_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "native_missing", lambda: "it is not there")


@pytest.mark.parametrize(
    ("force", "source"),
    [pytest.param(refuse_stamps, "no_stamps", id="sandbox"), pytest.param(hide_compiled, "not_compiled", id="pure")],
)
def test_where_it_cannot_be_had_the_run_goes_on_without_and_says_why(
    force: Callable[[pytest.MonkeyPatch], None],
    source: str,
    server: Server,
    blast: Blast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, _, _ = server()
    force(monkeypatch)
    blasting, hold = journey(blast, port, duration="200ms")
    assert source_of(blasting) == source
    assert stages_of(hold) == set()
    assert hold.counters["replied"] > 0


def test_a_peer_that_answers_a_hello_byte_by_byte_is_not_waited_for(
    peer: Peer, blast: Blast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_probe = peek(sock, 47) == _HELLO
        while chunk := sock.recv(64):
            for byte in chunk:
                sock.sendall(bytes([byte]))
                time.sleep(0.05 if is_probe else 0)  # 2.35 s for a hello; each byte comes in time

    monkeypatch.setattr(probes, "_HELLO_S", 0.3)
    blasting, hold = journey(blast, peer(drip), duration="200ms")
    # Had it been waited for, it would be an echo: "foreign".
    assert source_of(blasting) == "not_opened"
    assert hold.counters["replied"] > 0


def test_a_target_that_is_slow_with_each_probe_delays_the_run_by_no_more_than_all_may_take(
    peer: Peer, blast: Blast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def think(sock: socket.socket, number: int) -> None:
        is_probe = peek(sock, 47) == _HELLO
        while chunk := sock.recv(64):
            time.sleep(0.3 if is_probe else 0)
            sock.sendall(chunk)

    monkeypatch.setattr(probes, "_OPEN_S", 0.5)  # less than the four of them take
    blasting, _hold = journey(blast, peer(think), duration="200ms")
    assert source_of(blasting) == "not_opened"


def test_a_peer_that_answers_no_hello_is_not_waited_for(
    peer: Peer, blast: Blast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo_64(sock: socket.socket, number: int) -> None:
        while len(message := receive(sock, 64)) == 64:
            sock.sendall(message)

    monkeypatch.setattr(probes, "_HELLO_S", 0.1)
    blasting, hold = journey(blast, peer(echo_64), duration="200ms")
    assert source_of(blasting) == "not_opened"
    assert hold.counters["replied"] > 0


# -- the serve end, by hand


def greet(port: int, hello: bytes = _HELLO) -> tuple[socket.socket, bytes]:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(hello)
    return sock, receive(sock, len(hello))


def is_welcome(answer: bytes) -> bool:
    return answer.startswith(_core.WELCOME_TEXT.encode())


def times_of(sock: socket.socket, number: int, trailer: bytes) -> tuple[list[int], int]:
    """Returns the five times of message `number` (CLOCK_REALTIME, ns), as the other end knows them, and the flags."""
    *words, flags, check = _TRAILER.unpack(trailer)
    assert check == _CHECK
    moved_by = _core.connection_number(probes.machine_key(), sock.fileno(), False, number)
    return [(word - moved_by) % 2**64 for word in words], flags


def test_a_hello_is_welcomed_and_each_message_comes_back_with_its_stamps(server: Server) -> None:
    port, board, control = server()
    sock, answer = greet(port)
    with sock:
        name = _core.connection_number(probes.machine_key(), sock.fileno(), False, 0)
        assert answer == _core.WELCOME_TEXT.encode() + struct.pack("<Q", name)
        for number, part in enumerate((1, 17, 64), 1):  # in one segment or in two
            before = time.time_ns()
            sock.sendall(b"x" * part)
            if part < 64:
                time.sleep(0.02)
                sock.sendall(b"x" * (64 - part))
            reply = receive(sock, 64 + _TRAILER.size)
            (rx, call, wakeup, read, write), flags = times_of(sock, number, reply[64:])
            assert (reply[:64], flags & _STEPPED) == (b"x" * 64, 0)
            assert before - 10_000 <= read <= write <= time.time_ns() + 10_000
            assert call <= wakeup <= read
            assert flags & _UNSTAMPED or before - 10_000 <= rx <= read + 10_000
        wait_for(lambda: read_worker(board, 0).state["open"] == 0)
        counters = read_worker(board, 0).phases[0].counters
        assert (counters["opened"], counters["probes"]) == (0, 1)
        control.say(stop=True)  # a probe keeps nobody from stopping
        assert sock.recv(1) == b""
    counters = read_worker(board, 0).phases[0].counters
    assert (counters["opened"], counters["closed"], counters["received_bytes"]) == (0, 0, 0)


def test_a_probe_takes_the_place_of_a_connection_until_it_ends(server: Server) -> None:
    port, _board, _ = server(max_connections=1)
    sock, answer = greet(port)
    with sock:
        assert is_welcome(answer)
        assert not gets_in(port)
    wait_for(lambda: gets_in(port))


def gets_in(port: int) -> bool:
    """Whether a connection is echoed to, and not turned away."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"x")
            return sock.recv(1) == b"x"
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_neither_the_machine_nor_its_clock_is_given_away(server: Server) -> None:
    port, _, _ = server()
    seen = set[int]()
    for _ in range(4):
        sock, answer = greet(port)
        with sock:
            seen |= {int.from_bytes(answer[39:], "little")}
            for _ in range(4):
                sock.sendall(bytes(64))
                *words, _flags, _check = _TRAILER.unpack(receive(sock, 64 + _TRAILER.size)[64:])
                assert all(abs(word - time.time_ns()) > 60 * 10**9 for word in words)  # by chance: 1 in 10^8
                seen |= set(words[3:4])
    assert len(seen) == 4 + 16  # no two are alike


@pytest.mark.parametrize("size", [0, 1, 63, 16385, 2**32 - 1])
def test_a_hello_of_a_size_that_cannot_be_is_echoed_like_anything_else(size: int, server: Server) -> None:
    port, board, _ = server()
    hello = _HELLO[:39] + struct.pack("<I", size) + bytes(4)
    sock, answer = greet(port, hello)
    with sock:
        assert answer == hello
        sock.sendall(b"more")
        assert receive(sock, 4) == b"more"
    wait_for(lambda: read_worker(board, 0).phases[0].counters["received_bytes"] == 51)
    counters = read_worker(board, 0).phases[0].counters
    assert (counters["opened"], counters["probes"]) == (1, 0)


def test_a_serve_end_that_refuses_says_so_and_goes_on_as_an_echo(server: Server, blast: Blast) -> None:
    port, board, _ = server(probes=False)
    sock, answer = greet(port)
    with sock:
        assert answer == _core.REFUSAL_TEXT.encode() + struct.pack("<Q", _core.REFUSED_OFF)
        sock.sendall(b"more")
        assert receive(sock, 4) == b"more"
    blasting, hold = journey(blast, port, duration="200ms")
    assert source_of(blasting) == "refused"
    assert hold.counters["replied"] > 0
    counters = read_worker(board, 0).phases[0].counters
    assert (counters["opened"], counters["probes"]) == (1 + 1 + 4, 0)


def test_a_probe_that_goes_is_forgotten(server: Server) -> None:
    port, board, _ = server()
    for _ in range(20):
        sock, answer = greet(port)
        assert is_welcome(answer)
        sock.close()
    fds = Path("/proc/self/fd")
    wait_for(lambda: read_worker(board, 0).phases[0].counters["probes"] == 20)
    used = len(list(fds.iterdir()))
    sock, _answer = greet(port)
    sock.close()
    wait_for(lambda: len(list(fds.iterdir())) <= used)


def test_a_machine_without_a_boot_id_has_a_clock_of_its_own(tmp_path: Path) -> None:
    assert probes.machine_key() == probes.machine_key()
    nowhere, nor_here = tmp_path / "boot_id", tmp_path / "another"
    assert probes.machine_key(nowhere) != probes.machine_key(nor_here)
    assert len(probes.machine_key()) == len(probes.machine_key(nowhere)) == 16


def test_only_a_run_with_journeys_has_room_for_them() -> None:
    without, some = BoardLayout(1, 1, 10**9), BoardLayout(1, 1, 10**9, has_journeys=True)
    assert some.slot_words - without.slot_words == len(STAGES) * some.histogram_words + some.tail_words


@pytest.fixture
def hookless(monkeypatch: pytest.MonkeyPatch) -> None:
    """An uvloop that nobody looks into: its libuv counts for itself, and does not say when it waited."""
    monkeypatch.setitem(sys.modules, "loadkit.engine.aio._hook", None)
    monkeypatch.delattr(loadkit.engine.aio, "_hook", raising=False)


@pytest.mark.parametrize("engine", ["uvloop"], indirect=True)
@pytest.mark.usefixtures("hookless")
def test_without_the_hook_there_is_no_journey_and_a_hello_is_only_echoed(server: Server, blast: Blast) -> None:
    port, board, _ = server()
    sock, answer = greet(port)
    sock.close()
    assert answer == _HELLO
    blasting, hold = journey(blast, port, duration="200ms")
    assert source_of(blasting) == "no_waits"
    assert hold.counters["replied"] > 0
    assert read_worker(board, 0).phases[0].counters["probes"] == 0
