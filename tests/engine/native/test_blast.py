"""The compiled blast end's time line: schedules, phases, standstills, the drain (blast.c, schedule.c)."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadkit.plan.pacing import LinearPace, Turn, due_times
from loadkit.units import NS_PER_S
from tests.engine.conftest import LOOPBACK

from .by_hand import (
    Core,
    _core,
    a_phase,
    a_route,
    paced,
    send_one,
    two_holds,
)

pytestmark = pytest.mark.slow


_PACES = st.builds(
    LinearPace,
    begin_ns=st.just(0),
    duration_ns=st.integers(100 * NS_PER_S, 3600 * NS_PER_S),
    start_hz=st.one_of(st.floats(0, 50), st.just(0.0), st.floats(0.01, 50)),
    end_hz=st.one_of(st.floats(0, 50), st.just(0.0)),
).filter(lambda pace: pace.total() > 0)


@settings(deadline=None, max_examples=150)
@given(
    pace=_PACES,
    part=st.floats(0.0, 0.99),
    worker=st.sampled_from([(0, 1), (0, 2), (1, 2), (3, 7)]),
    is_gentle=st.booleans(),
)
def test_by_any_moment_as_many_messages_fell_due_as_the_pace_says(
    pace: LinearPace, part: float, worker: tuple[int, int], is_gentle: bool
) -> None:
    index, of = worker
    with Core(phases=paced(pace), index=index, of=of) as core:
        # A phase that began long ago: what is due of it is due now. Nobody is connected, so it is due and not sent.
        begin = time.monotonic_ns() - int(part * pace.duration_ns)
        core.blast.begin_phases(begin)
        before = time.monotonic_ns()
        core.turn(0)
        if is_gentle:
            core.blast.stop(0)
        else:
            core.blast.leave()
        after = time.monotonic_ns()
        counters = core.phase(1).counters
    ages = np.array(list(due_times(pace, index, of)), np.int64) + begin
    assert np.count_nonzero(ages <= before) <= counters["intended"] <= np.count_nonzero(ages <= after)
    assert counters["unsent"] == counters["intended"]


@settings(deadline=None, max_examples=150)
@given(
    workers=st.integers(1, 9),
    lanes=st.integers(1, 9),
    index=st.integers(0, 8),
    place=st.integers(0, 40),
    count=st.integers(0, 40),
    passed=st.integers(-1, 150),
)
@example(workers=3, lanes=2, index=2, place=4, count=3, passed=9)
@example(workers=3, lanes=2, index=0, place=1, count=4, passed=150)
def test_by_any_moment_as_many_connects_fell_due_as_the_turn_says(
    workers: int, lanes: int, index: int, place: int, count: int, passed: int
) -> None:
    lanes, index = min(lanes, workers), index % workers
    turn = Turn(place, count, index % lanes, lanes, workers)
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))  # refuses each connect: what matters is when it was begun
        with Core(port=bound.getsockname()[1], index=index, of=workers) as core:
            # An event a minute, and half a minute past one of them: nothing falls due while this test runs.
            minute = 60 * NS_PER_S
            begin = time.monotonic_ns() - passed * minute - minute // 2
            core.blast.start(begin, 1 / 60, place, count, lanes)
            core.turn(0)
            counters, connect = core.phase(0).counters, core.phase(0).errors
    due = [at for at in turn.due_times(begin, 1 / 60) if at <= begin + passed * minute + minute // 4]
    assert counters["asked"] == len(due) == connect.get(("connect", "ECONNREFUSED"), 0)


def test_the_start_of_the_ramp_is_heard_once() -> None:
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        with Core(port=bound.getsockname()[1]) as core:
            core.blast.open_first(time.monotonic_ns())
            with pytest.raises(ValueError, match="before all others"):
                core.blast.open_first(time.monotonic_ns())
            for _ in range(3):  # as often as the parent says anything
                core.blast.start(time.monotonic_ns(), 1000.0, 1, 4, 1)
                core.turn(20_000_000)
            core.turn_until(lambda: core.phase(0).counters["asked"] >= 1 + 4)
            core.turn()
            assert core.phase(0).counters["asked"] == 1 + 4


@pytest.mark.parametrize("values", [(-1, 1, 1), (0, -1, 1), (0, 1, 0), (0, 1, 2), (2**40, 1, 1)], ids=str)
def test_a_turn_that_no_shard_has_is_refused(values: tuple[int, int, int]) -> None:
    with Core() as core, pytest.raises(ValueError, match="what a shard has"):
        core.blast.start(0, 1000.0, *values)


@pytest.mark.parametrize(
    ("start_hz", "end_hz"),
    [
        pytest.param(20.0, 20.0, id="constant"),
        pytest.param(0.0, 40.0, id="up from nothing"),
        pytest.param(40.0, 0.0, id="down to nothing"),
        pytest.param(20.0, 20.0000001, id="all but constant"),
        pytest.param(0.1, 100.0, id="a thousandfold"),
    ],
)
def test_lateness_counts_from_the_times_of_the_pace(start_hz: float, end_hz: float) -> None:
    pace = LinearPace(0, 100 * NS_PER_S, start_hz, end_hz)
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(pace), port=listener.getsockname()[1]) as core:
            core.open_one(listener)
            begin = time.monotonic_ns() - pace.duration_ns // 2
            before = time.monotonic_ns()
            core.blast.begin_phases(begin)
            due = np.array([begin + time_ns for time_ns in due_times(pace, 0, 1)], np.int64)
            due_before = int(np.count_nonzero(due <= before))
            core.turn_until(lambda: core.phase(1).counters["sent"] >= due_before)
            sent = core.phase(1).counters["sent"]
            after = time.monotonic_ns()
            lateness = core.phase(1).histograms["lateness"]
    due = due[:sent]
    assert lateness.count == sent
    # Each was sent between `before` and `after`, so the lateness of each is known to that span, and so is their sum.
    assert sent * before - due.sum() <= lateness.sum_ns <= sent * after - due.sum()
    assert before - due[0] <= lateness.max_ns <= after - due[0]
    assert 0 <= lateness.min_ns <= after - due[-1]


_MILLION = LinearPace(0, NS_PER_S, 1_000_000, 1_000_000)

_FEW = LinearPace(0, 3600 * NS_PER_S, 0.001, 0.001)


@pytest.mark.parametrize(
    ("worker", "share"),
    [pytest.param((0, 1), 1_000_000, id="one worker"), pytest.param((1, 3), 333_333, id="the second of three")],
)
def test_a_million_messages_left_when_a_phase_ends_are_its_unsent_ones_at_once(
    worker: tuple[int, int], share: int
) -> None:
    first, second = two_holds(_MILLION, _FEW)[1:3]
    first = a_phase(_MILLION.duration_ns, _MILLION)
    index, of = worker
    phases = (a_phase(NS_PER_S), first, second, a_phase(NS_PER_S, is_drain=True))
    with Core(phases=phases, index=index, of=of) as core:
        # It ended a second ago: the turn that hears of it is in the next phase already. Nobody is connected.
        core.blast.begin_phases(time.monotonic_ns() - 2 * NS_PER_S)
        core.turn(0)
        ended, begun = core.phase(1).counters, core.phase(2).counters
        assert core.slot.get("phase") == 2
    assert (ended["intended"], ended["unsent"], ended["sent"]) == (share, share, 0)
    # The next one has its own; the first of all of them was due as it began, and is the first worker's.
    first_ones = int(index == 0)
    assert (begun["intended"], begun["unsent"]) == (first_ones, first_ones)


def test_what_finds_no_room_when_a_phase_ends_is_unsent_and_the_next_phase_sends_its_own_on_time() -> None:
    # One message may be under way, and is not answered: of the first phase nothing more goes out.
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with Core(phases=two_holds(_MILLION, _FEW), port=port, depth=1, held_ns=0) as core:
            core.open_one(listener)
            begin = time.monotonic_ns()
            core.blast.begin_phases(begin)
            core.turn_until(lambda: core.slot.get("phase") == 2)
            heard_ns = time.monotonic_ns() - begin - NS_PER_S
            ended = core.phase(1).counters
            assert (ended["intended"], ended["sent"], ended["unsent"]) == (1_000_000, 1, 999_999)
            assert ended["waited"] == 999_999
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(2).counters["sent"] == 1)
            next_phase = core.phase(2)
    assert next_phase.counters["intended"] == 1
    assert next_phase.histograms["lateness"].max_ns <= heard_ns


def test_a_message_that_waited_for_room_is_late_until_the_schedule_was_looked_at_and_held_from_then_on() -> None:
    ms = 1_000_000
    pace = LinearPace(0, 20 * ms, 100, 100)  # at 0 and 10 ms
    phases = (a_phase(NS_PER_S), a_phase(3600 * NS_PER_S, pace), a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], depth=1) as core:
            core.open_one(listener)
            begin = time.monotonic_ns() + 5 * ms  # after the last look
            due = [begin, begin + 10 * ms]
            time.sleep(0.03)
            before = time.monotonic_ns()
            core.blast.begin_phases(begin)
            core.turn(0)  # the first goes out, the second waits
            after = time.monotonic_ns()
            assert [core.phase(1).counters[name] for name in ("sent", "waited")] == [1, 1]
            time.sleep(0.02)
            answered = time.monotonic_ns()
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(1).counters["sent"] == 2)
            sent = time.monotonic_ns()
            lateness, held = (core.phase(1).histograms[name] for name in ("lateness", "held"))
    assert 2 * before - sum(due) <= lateness.sum_ns <= 2 * after - sum(due)
    assert (held.count, held.min_ns) == (2, 0)
    assert answered - after <= held.sum_ns <= sent - before
    assert lateness.max_ns + held.max_ns <= sent - due[0]


_ONE = LinearPace(0, 3600 * NS_PER_S, 0.0001, 0.0001)  # a message, as the phase begins

_BEAT_NS = 100_000_000  # native/standstills.h: the core asks for a turn within it


def test_a_standstill_is_noted_and_what_was_under_way_in_it_is_disturbed() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(_ONE), port=listener.getsockname()[1]) as core:
            send_one(core, listener)
            before = time.monotonic_ns()
            core.turn(0)
            turned, noted = time.monotonic_ns(), core.phase(1).histograms["standstill"]
            time.sleep(0.2)
            slept = time.monotonic_ns()
            core.turn(0)
            after = time.monotonic_ns()
            found = core.phase(1).histograms["standstill"]
            # A busy machine may have made it more than one.
            assert found.count > noted.count
            assert slept - turned - _BEAT_NS <= found.sum_ns - noted.sum_ns <= after - before
            longest, at = core.slot.get("standstill_ns"), core.slot.get("standstill_at_ns")
            assert longest == found.max_ns
            assert at + longest <= after
            assert at >= before or longest == noted.max_ns
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            core.turn_until(lambda: core.phase(1).counters["replied"] == 1)
            phase = core.phase(1)
    assert (phase.counters["stood"], phase.histograms["disturbed"].count) == (1, 1)
    assert phase.histograms["disturbed"].sum_ns == phase.histograms["latency"].sum_ns


def test_a_message_that_goes_out_after_a_standstill_is_not_disturbed_by_it() -> None:
    times = 20
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1], is_timed=False, depth=1) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns())
            core.turn_until(lambda: core.phase(1).counters["sent"] == 1)
            peer = core.sockets[-1]
            time.sleep(0.2)
            phases = []
            for number in range(1, times + 1):
                peer.sendall(peer.recv(64))
                core.turn_until(lambda number=number: core.phase(1).counters["replied"] == number)
                phases.append(core.phase(1))
    first, last = phases[0], phases[-1]
    assert first.counters["stood"] == 1
    # One message at a time is under way: each standstill that a busy machine adds disturbs one more.
    more = last.histograms["standstill"].count - first.histograms["standstill"].count
    assert last.counters["stood"] <= 1 + more


def test_the_time_that_we_stood_still_does_not_count_against_a_reply() -> None:
    timeout_ns = 3 * _BEAT_NS
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=paced(_ONE), port=listener.getsockname()[1], timeout_ns=timeout_ns) as core:
            send_one(core, listener)
            core.sockets[-1].sendall(core.sockets[-1].recv(64))
            time.sleep(2 * timeout_ns / NS_PER_S)  # the reply is there, and is not read
            core.turn_until(lambda: core.phase(1).counters["replied"] == 1 or bool(core.phase(1).errors))
            phase = core.phase(1)
    assert (phase.counters["replied"], phase.errors) == (1, {})
    assert phase.histograms["latency"].max_ns > timeout_ns


def test_what_is_under_way_when_a_phase_is_heard_of_too_late_belongs_to_the_phase() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1], is_timed=False, depth=1) as core:
            began = time.monotonic_ns()
            core.blast.start(began, 1000.0, 0, 1, 1)
            core.turn_until(lambda: core.slot.get("open") == 1)
            assert core.phase(0).counters["sent"] == core.phase(0).counters["intended"] == 1
            core.blast.begin_phases(began)
            ramp, phase = core.phase(0), core.phase(1)
            peer, _ = listener.accept()
            with peer:
                peer.sendall(peer.recv(64))
                core.turn_until(lambda: core.phase(1).counters["replied"] == 1)
    for name in ("sent", "intended", "sent_bytes", "window_sent"):
        assert (ramp.counters[name], phase.counters[name]) == (0, 1)


@pytest.mark.parametrize("messages", [1, 2, 3])
def test_of_what_is_under_way_then_no_more_than_n_is_the_phase_s(messages: int) -> None:
    phases = (a_phase(NS_PER_S), {**a_phase(3600 * NS_PER_S), "is_measured": True}, a_phase(NS_PER_S, is_drain=True))
    options: dict[str, Any] = {"is_timed": False, "depth": 1, "messages": messages, "lifetime_ns": 3600 * NS_PER_S}
    routes = (a_route(connections=2),)
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(port=listener.getsockname()[1], phases=phases, routes=routes, **options) as core:
            began = time.monotonic_ns()
            core.blast.start(began, 1000.0, 0, 2, 1)
            core.turn_until(lambda: core.slot.get("open") == 2)
            core.blast.begin_phases(began)  # with two messages under way
            peers = [listener.accept()[0] for _ in range(2)]
            core.sockets += peers
            for peer in peers:
                peer.setblocking(False)
            for count in range(1, max(2, messages) + 1):

                def is_answered(count: int = count) -> bool:
                    for peer in peers:
                        with contextlib.suppress(BlockingIOError, ConnectionError):  # it closes by a reset
                            peer.sendall(peer.recv(64))
                    return sum(core.phase(index).counters["replied"] for index in range(3)) >= count

                core.turn_until(is_answered)
            core.turn_until(lambda: core.slot.get("phase") == 2)  # the drain
            ramp, phase = core.phase(0).counters, core.phase(1).counters
    assert phase["intended"] == phase["sent"] == phase["replied"] == messages
    assert ramp["intended"] == ramp["sent"] == ramp["replied"] == max(0, 2 - messages)


def test_closing_comes_after_the_turn_that_began_the_drain() -> None:
    # Or the CPU time that it takes would be counted in the phase before.
    phases = (a_phase(NS_PER_S), a_phase(1_000_000), a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], is_timed=True) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() - 2_000_000)
            assert core.blast.turn(NS_PER_S) & (_core.TURN_PHASE | _core.TURN_DONE) == _core.TURN_PHASE
            assert (core.slot.get("phase"), core.slot.get("open")) == (2, 1)
            assert core.blast.turn(NS_PER_S) & (_core.TURN_PHASE | _core.TURN_DONE) == _core.TURN_DONE
            assert core.slot.get("open") == 0


def test_no_phase_is_busy_or_waits_for_longer_than_it_lasts() -> None:
    # A microsecond each: every call of epoll_wait, and every turn between two, goes over several of them.
    short_ns, count = 1_000, 50
    phases = (a_phase(NS_PER_S), *[a_phase(short_ns)] * count, a_phase(NS_PER_S, is_drain=True))
    with socket.create_server((LOOPBACK, 0)) as listener:
        with Core(phases=phases, port=listener.getsockname()[1], is_timed=True) as core:
            core.open_one(listener)
            core.blast.begin_phases(time.monotonic_ns() + 1_000_000)
            core.turn_until(lambda: core.slot.get("phase") == count + 1)
            spent = [core.phase(number).counters for number in range(1, count + 1)]
    times = [counters["busy_ns"] + counters["blocked_ns"] for counters in spent]
    assert max(times) <= short_ns
    assert sum(times) > short_ns
