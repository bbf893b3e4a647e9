"""What every engine has to do at the blast end, whatever it is made of."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from loadkit.engine.base import Engine
from loadkit.engine.fake import CONNECT_NS, REPLY_NS
from loadkit.engine.registry import get_engine
from loadkit.host import read_host
from loadkit.measure.samples import read_board, read_worker
from loadkit.plan.build import build_plan
from loadkit.plan.pacing import share
from loadkit.plan.target import Route, Target
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile
from tests.conftest import Serve
from tests.golden.made_up import ENGINE
from tests.receiving import receive
from tests.truth.witness import timely, witnessed

from .conftest import LOOPBACK, Blast, Blasting, Peer, Server, few_descriptors, run, wait_for

pytestmark = pytest.mark.slow

# The three ways a connection comes to its messages: after each reply, on a schedule, one in its life.
LOOPS = {"closed loop": {}, "open loop": {"rate": "1k"}, "churn": {"lifetime": "0"}}


def firsts(loop: str, connections: int) -> int:
    """How many first messages of connections are counted as messages: in an open loop no schedule wanted them."""
    return 0 if loop == "open loop" else connections


@pytest.mark.parametrize("size", ["1B", "64B", "251B", "64KiB", "1MiB"])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_closed_loop_of_any_size_and_depth_sends_exactly_n(
    server: Server, blast: Blast, size: str, depth: int
) -> None:
    port, board, _control = server()
    count = 200 if size != "1MiB" else 20
    blasting = blast(port, connections="5", messages=str(count), size=size, depth=str(depth))
    whole = run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["replied"] == count
    assert whole.errors == {}
    assert (
        whole.counters["received_bytes"] == whole.counters["sent_bytes"] == (count + 5) * blasting.plan.load.size_bytes
    )
    wait_for(lambda: board.slots[0].get("open") == 0)
    served = read_worker(board, 0).phases[0].counters
    assert served["opened"] == 5
    wait_for(lambda: read_worker(board, 0).phases[0].counters["received_bytes"] == whole.counters["sent_bytes"])


@pytest.mark.parametrize("loop", LOOPS)
def test_fewer_messages_than_connections_and_than_places_on_one_are_exact_too(
    server: Server, blast: Blast, loop: str
) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", depth="8", messages="3", duration="30s", **LOOPS[loop])
    whole = run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["replied"] == 3
    assert whole.counters["replied"] == firsts(loop, 10) + 3
    assert whole.errors == {}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_shard_whose_part_of_the_messages_is_none_sends_none(server: Server, blast: Blast, loop: str) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="8", workers="4", messages="3", duration="30s", **LOOPS[loop])
    whole = run(blasting)
    assert [worker.phases[1].counters["intended"] for worker in read_board(blasting.board)] == [1, 1, 1, 0]
    assert whole.counters["replied"] == firsts(loop, 8) + 3
    assert whole.errors == {}


@pytest.mark.parametrize(("loop", "workers"), [("closed loop", 2), ("closed loop", 3), ("open loop", 3), ("churn", 2)])
def test_the_shards_on_one_board_add_up_to_the_plan(server: Server, blast: Blast, loop: str, workers: int) -> None:
    port, _board, _control = server()
    blasting = blast(
        port, connections="10", workers=str(workers), messages="101", depth="2", duration="30s", **LOOPS[loop]
    )
    whole = run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["replied"] == 101
    assert whole.counters["received_bytes"] == 64 * (10 + 101)
    assert whole.errors == {}
    for worker in read_board(blasting.board):
        ramp, hold = (phase.counters for phase in worker.phases[:2])
        assert ramp["replied"] == firsts(loop, share(10, worker.index, workers))
        assert hold["replied"] == share(101, worker.index, workers)


@pytest.mark.parametrize("depth", [1, 4])
def test_an_open_loop_keeps_its_count(server: Server, blast: Blast, depth: int) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="1k", duration="300ms", depth=str(depth))
    run(blasting)
    hold = blasting.phase("hold")
    # What is left unsent at the end is the machine's: it stood still just then.
    assert hold.counters["intended"] == hold.counters["replied"] + hold.counters["unsent"] == 300
    parts = [hold.histograms[name].sum_ns for name in ("lateness", "held", "service")]
    assert hold.histograms["latency"].sum_ns == sum(parts)


def test_a_ramp_of_the_rate_sends_its_area(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="100:1900", duration="300ms")
    run(blasting)
    assert blasting.phase("hold").counters["intended"] == 300  # (100 + 1900) / 2 x 0.3 s


@witnessed(())
def test_each_phase_has_a_rate_of_its_own(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    rates = {"slow": "100", "fast": "1k", "pause": "0", "rising": "100:300"}
    phases = [{"name": name, "duration": "100ms", "rate": rate} for name, rate in rates.items()]
    blasting = blast(port, connections="10", workers="2", phases=phases)
    whole = run(blasting)
    # 100 x 0.1 s, 1,000 x 0.1 s, none, (100 + 300) / 2 x 0.1 s
    assert [blasting.phase(name).counters["intended"] for name in rates] == [10, 100, 0, 20]
    # A phase keeps what it left unsent, which a busy machine may make it do at its end.
    assert whole.counters["replied"] + whole.counters["unsent"] == whole.counters["intended"] == 130
    timely(whole.counters["replied"] >= 65, whole.counters)


@pytest.mark.parametrize("rate", [None, "200"], ids=["closed loop", "open loop"])
@witnessed(())
def test_phases_with_fewer_and_with_more_connections_close_and_open_the_difference(
    server: Server, blast: Blast, rate: str | None
) -> None:
    port, board, _control = server()
    paced = {"rate": rate} if rate else {}
    phases = [
        {"name": name, "duration": "100ms", "connections": connections, **paced}
        for name, connections in (("many", "10"), ("few", "4"), ("some", "8"), ("rest", "8"))
    ]
    blasting = blast(port, phases=phases)
    whole = run(blasting)
    many, few, some, rest, drain = (blasting.phase(phase["name"]).counters for phase in (*phases, {"name": "drain"}))
    assert (many["opened"], few["opened"]) == (0, 0)
    # Each counts in the phase that it was due in, though a busy machine may open it in the next.
    assert (some["opened"], rest["opened"]) == (4, 0)
    assert many["closed"] == 0
    # One that waits for its last reply may close a little later.
    assert few["closed"] + some["closed"] + rest["closed"] == 6
    assert drain["closed"] == 8
    assert read_worker(blasting.board, 0).state["peak"] == 10
    # A phase keeps what it left unsent, which a busy machine may make it do at its end.
    assert whole.counters["replied"] + whole.counters["unsent"] == whole.counters["intended"]
    assert whole.errors == {}
    if rate:
        # 200 x 0.1 s in each phase; the first message of each connection is none of them.
        assert whole.counters["intended"] == 4 * 20
        assert whole.counters["received_bytes"] == 64 * (whole.counters["replied"] + 10 + 4)
    wait_for(lambda: read_worker(board, 0).phases[0].counters["closed"] == 14)
    timely(whole.counters["replied"] >= 40, whole.counters)


def test_each_worker_opens_its_share_of_a_phase_s_connections_however_often_they_change(
    server: Server, blast: Blast
) -> None:
    port, _board, _control = server()
    phases = [
        {"name": f"{number}", "duration": "100ms", "connections": connections, "rate": "50"}
        for number, connections in enumerate(("3", "6", "3", "6", "6", "3"))
    ]
    blasting = blast(port, workers="2", phases=phases)
    whole = run(blasting)
    workers = read_board(blasting.board)
    # Of 3 connections worker 0 has two, of 6 each has three: so they open one and two.
    opened = [[phase.counters["opened"] for phase in worker.phases[1:-1]] for worker in workers]
    assert opened == [[0, 1, 0, 1, 0, 0], [0, 2, 0, 2, 0, 0]]
    assert [worker.state["peak"] for worker in workers] == [3, 3]
    assert whole.errors == {}


@pytest.mark.parametrize("depth", ["1", "2000"])
def test_a_closed_loop_ends_with_its_phase_and_not_with_its_turn(server: Server, blast: Blast, depth: str) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="20", depth=depth, duration="300ms")
    run(blasting)
    assert blasting.phase("hold").counters["intended"] > 0
    # Nothing is intended after the end; what was under way is answered in the drain, and belongs to the hold.
    assert blasting.phase("drain").counters["intended"] == 0
    assert blasting.phase("drain").counters["window_sent"] == 0


def test_who_looks_after_a_short_window_still_sees_the_connections_at_its_start(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", messages="20")
    run(blasting)
    state = read_worker(blasting.board, 0).state
    assert (state["answered"], state["open"]) == (10, 0)


def test_every_first_connection_exchanges_a_message_in_the_ramp(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="50", rate="10", duration="200ms")
    run(blasting)
    ramp = blasting.phase("ramp")
    assert ramp.counters["opened"] == ramp.counters["window_opened"] == 50
    assert ramp.counters["received_bytes"] == ramp.counters["sent_bytes"] == 50 * 64
    assert ramp.counters["intended"] == ramp.counters["replied"] == 0
    assert ramp.histograms["connect"].count == ramp.histograms["first_byte"].count == 50
    assert read_worker(blasting.board, 0).state["peak"] == 50


@pytest.mark.parametrize("close", ["rst", "fin"])
def test_churn_by_exchange_opens_a_connection_for_each_message(server: Server, blast: Blast, close: str) -> None:
    port, board, _control = server()
    blasting = blast(port, connections="5", lifetime="0", messages="300", close=close)
    whole = run(blasting)
    assert blasting.phase("hold").counters["replied"] == 300
    assert 300 <= whole.counters["opened"] <= 310
    assert whole.errors == {}
    # The serve end takes neither way of closing for an error. It may have seen some more: those under way at the end.
    wait_for(lambda: board.slots[0].get("open") == 0)
    served = read_worker(board, 0).phases[0]
    assert served.counters["closed"] == served.counters["opened"] >= whole.counters["opened"]
    assert served.errors == {}


def test_churn_that_ends_with_its_time_ends_between_two_exchanges(server: Server, blast: Blast) -> None:
    # The end falls anywhere: often enough between connect() and the first message.
    for _ in range(20):
        whole = run(blast(server()[0], connections="4", lifetime="0", duration="25ms"))
        assert whole.errors == {}
        counters = whole.counters
        assert counters["opened"] == counters["asked"] == counters["closed"]
        # What opens in the drain sends nothing.
        assert counters["opened"] - 4 <= counters["replied"] + counters["unanswered"] <= counters["opened"]


def test_churn_by_lifetime_keeps_as_many_open(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    begin = time.monotonic_ns()
    blasting = blast(port, connections="10", lifetime="50ms", rate="500", duration="60s")
    blasting.end_ramp()
    wait_for(lambda: blasting.whole().counters["opened"] >= 70)
    blasting.say(stop=True)
    whole = blasting.end()
    # Those of the ramp, and ten more each 50 ms; a stop opens none.
    lasted_ns = read_worker(blasting.board, 0).state["finished_ns"] - begin
    assert 70 <= whole.counters["opened"] <= 10 * (2 + lasted_ns / 50_000_000)
    assert whole.errors == {}
    hold = blasting.phase("hold").counters
    # The first of each connection is none of the schedule's, of which a stop leaves unsent what was due by then.
    assert hold["replied"] + hold["unsent"] == hold["intended"] <= 500 * (lasted_ns / 10**9 + 0.1)


def test_an_ipv6_target_is_a_target_like_any_other(server: Server, blast: Blast) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback: {error}")
    port, _board, _control = server("::1")
    blasting = blast(port, "::1", connections="5", messages="100")
    assert run(blasting).errors == {}
    assert blasting.phase("hold").counters["replied"] == 100


def test_a_route_with_a_source_connects_from_there(peer: Peer, blast: Blast) -> None:
    seen = set()

    def echo(sock: socket.socket, _number: int) -> None:
        seen.add(sock.getpeername()[0])
        while chunk := sock.recv(64):
            sock.sendall(chunk)

    blasting = blast(peer(echo), connections="5", messages="50", source=("127.0.0.2",))
    assert run(blasting).errors == {}
    assert seen == {"127.0.0.2"}


def test_a_gentle_stop_in_the_hold_leaves_whole_totals(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="10", rate="1k", duration="60s")
    blasting.end_ramp()
    wait_for(lambda: blasting.phase("hold").counters["replied"] > 50)
    blasting.say(stop=True)
    whole = blasting.end()
    assert whole.errors == {}
    assert whole.counters["intended"] < 30_000


def test_a_stop_while_a_closed_loop_is_just_starting_leaves_whole_totals(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # 600 are several rounds of a start; each run is stopped a little further into it.
    for after_ns in (0, 300_000, 3_000_000):
        blasting = blast(port, connections="600", depth="4", duration="60s", connect_rate="20k")
        wait_for(lambda blasting=blasting: blasting.settled() == 600)
        begin = time.monotonic_ns() + 5_000_000
        blasting.say(hold_ns=begin)
        while time.monotonic_ns() < begin + after_ns:
            pass
        stopped = time.monotonic_ns()
        blasting.say(stop=True)
        whole = blasting.end()
        assert whole.counters["opened"] == whole.counters["closed"] == 600
        # The server replies to everything, unless it takes longer than the second that a gentle stop waits.
        took_ns = read_worker(blasting.board, 0).state["finished_ns"] - stopped
        assert whole.counters["replied"] == whole.counters["intended"] or took_ns > 0.9e9
        assert whole.errors == {}


def test_leaving_at_once_counts_what_was_under_way_as_unanswered(peer: Peer, blast: Blast) -> None:
    blasting = blast(peer(answer_the_first), connections="10", rate="1k", duration="60s")
    blasting.end_ramp()
    wait_for(lambda: blasting.phase("hold").counters["waited"] > 0)
    blasting.say(leave=True)
    counters = blasting.end().counters
    assert counters["unanswered"] == 10
    assert counters["unsent"] > 0
    # Only what was due by then: not the rest of the minute's 60,000.
    assert counters["intended"] < 30_000


def answer_the_first(sock: socket.socket, _number: int) -> None:
    """Echoes a connection's first message, and says nothing more."""
    sock.sendall(receive(sock, 64))
    while sock.recv(65536):
        pass


def test_a_stop_before_the_ramp_is_over_ends_it(blast: Blast) -> None:
    with socket.create_server((LOOPBACK, 0), backlog=4096) as silent:
        blasting = blast(silent.getsockname()[1], connections="1000", connect_rate="200", duration="60s")
        wait_for(lambda: blasting.phase("ramp").counters["opened"] >= 20)
        blasting.say(stop=True)
        counters = blasting.end().counters
    assert 20 <= counters["opened"] < 1000
    # One that opened after the stop sends nothing.
    assert counters["unanswered"] == counters["intended"] >= 20


def test_running_out_of_file_descriptors_is_an_error_of_connect(serve: Serve, blast: Blast) -> None:
    # In a process of its own: one that shared our descriptors would give some back by turning connections away.
    port = serve("-q").port
    with few_descriptors(30):  # a board, a control, a loop and its timer, and some 20 connections
        blasting = blast(port, connections="50", rate="100", duration="200ms")
        wait_for(lambda: blasting.settled() == 50)
    assert run(blasting).errors[("connect", "EMFILE")] >= 5
    assert blasting.phase("hold").counters["intended"] == 20


@pytest.mark.parametrize("lifetime", ["0", "5ms"])
def test_a_connection_opened_as_the_hold_begins_spends_of_the_messages_too(
    server: Server, blast: Blast, lifetime: str
) -> None:
    port, _board, _control = server()
    for _ in range(5):
        blasting = blast(port, connections="20", messages="200", lifetime=lifetime)
        run(blasting)
        assert blasting.phase("hold").counters["intended"] == 200


def test_a_rate_that_cannot_be_kept_ends_with_its_time_and_not_with_its_messages(peer: Peer, blast: Blast) -> None:
    def answer_slowly(sock: socket.socket, _number: int) -> None:
        while chunk := sock.recv(64):
            time.sleep(0.02)
            sock.sendall(chunk)

    # 2 connections of 50 replies a second each: 100/s are possible, and 5,000 are due.
    blasting = blast(peer(answer_slowly), connections="2", rate="10k", duration="500ms", timeout="10s")
    run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == 5000
    assert hold["replied"] <= 60
    assert hold["unsent"] >= 4900


def test_the_last_of_n_messages_in_an_open_loop_are_waited_for_however_long_they_are_held(
    peer: Peer, blast: Blast
) -> None:
    def answer_slowly(sock: socket.socket, _number: int) -> None:
        while chunk := sock.recv(64):
            time.sleep(0.01)
            sock.sendall(chunk)

    blasting = blast(peer(answer_slowly), connections="2", rate="10k", messages="60", timeout="10s")
    begin = blasting.end_ramp()
    blasting.end()
    hold = blasting.phase("hold").counters
    assert hold["intended"] == hold["replied"] == 60
    # 30 in a row of 10 ms each: the hold is as long as it took to send them, so that the rate is what was reached.
    state = read_worker(blasting.board, 0).state
    assert state["finished_ns"] - begin >= 250_000_000


def test_the_fake_engine_gives_the_plan_back() -> None:
    options = {"connections": "20", "rate": "1k", "duration": "2s", "workers": "2", "engine": "fake"}
    profile, sources = load_profile(None, options)
    plan = build_plan(profile, sources, read_host(), Target("nowhere", (LOOPBACK,), 9), ENGINE)
    blasting = Blasting(get_engine(EngineName.FAKE), plan)
    whole = run(blasting)
    hold = blasting.phase("hold")
    assert hold.counters["replied"] == 2000
    assert hold.histograms["latency"].min_ns == hold.histograms["latency"].max_ns == REPLY_NS
    assert whole.histograms["connect"].min_ns == whole.histograms["connect"].max_ns == CONNECT_NS


def echo_to(listener: socket.socket, most: int) -> None:
    """Echoes on the first `most` connections and is silent on the others, in one thread, until the listener ends."""
    accepted = 0
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                sock: Any = key.fileobj
                with contextlib.suppress(OSError):
                    if sock is listener:
                        try:
                            taken, _address = listener.accept()
                        except OSError:
                            return
                        accepted += 1
                        selector.register(taken, selectors.EVENT_READ, accepted <= most)
                        continue
                    if chunk := sock.recv(64):
                        if key.data:
                            sock.sendall(chunk)
                        continue
                selector.unregister(sock)
                sock.close()


def test_a_time_out_is_found_however_many_short_lives_came_before(
    engine: Engine, blast: Blast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each connection leaves the deadline of its message behind: more of them than are kept for nothing. A thousand
    # lives take Python two seconds of CPU time, and a minute beside forty other things to do.
    monkeypatch.setattr("loadkit.engine.aio.deadlines._FEW", 64)
    lives = 1200 if engine.name == "native" else 200
    listener = socket.create_server((LOOPBACK, 0), backlog=64)
    peer = threading.Thread(target=echo_to, args=(listener, lives), daemon=True)
    peer.start()
    blasting = blast(
        listener.getsockname()[1], connections="20", lifetime="2ms", rate="100", duration="10m", timeout="700ms"
    )
    blasting.end_ramp()
    wait_for(lambda: blasting.whole().errors.get(("receive", "REPLY_TIMEOUT"), 0) >= 20)
    blasting.say(stop=True)
    whole = blasting.end()
    listener.shutdown(socket.SHUT_RDWR)
    peer.join(60)
    listener.close()
    assert set(whole.errors) == {("receive", "REPLY_TIMEOUT")}


# -- opening many


def test_no_more_than_so_many_connections_wait_for_their_first_reply(blast: Blast) -> None:
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener:  # the kernel accepts, nobody replies
        blasting = blast(listener.getsockname()[1], connections="20", opening="5", connect_rate="1k")
        wait_for(lambda: blasting.board.slots[0].get("open") == 5)
        time.sleep(0.3)  # fifteen times what all 20 would have taken
        assert blasting.board.slots[0].get("open") == 5
        peers = [listener.accept()[0] for _ in range(5)]
        for peer in peers:
            peer.sendall(peer.recv(64))
        wait_for(lambda: blasting.board.slots[0].get("open") == 10)
        for peer in peers:
            peer.close()
    connect = read_board(blasting.board)[0].phases[0].histograms["connect"]
    assert connect.max_ns > 200_000_000  # the wait counts


def test_a_closed_loop_of_connects_has_no_wait_for_room_in_their_time(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    since = time.monotonic_ns()
    blasting = blast(port, connections="300", opening="1", connect_rate="max")
    wait_for(lambda: blasting.board.slots[0].get("settled") == 300)
    took_ns = time.monotonic_ns() - since
    blasting.say(leave=True)
    blasting.end()
    # One after the other: all their times together are no longer than the whole. A schedule makes them 150 times it.
    assert read_board(blasting.board)[0].phases[0].histograms["connect"].sum_ns <= took_ns


def test_what_was_still_connecting_when_it_had_to_leave_is_accounted_for(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    for pause in (0.0, 0.005, 0.006, 0.007, 0.01):  # it begins after 5 ms
        blasting = blast(port, connections="300", connect_rate="100k")
        time.sleep(pause)
        blasting.say(leave=True)
        blasting.end()


def test_told_that_there_is_no_room_it_opens_no_more(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="6000", connect_rate="100", duration="2s")
    wait_for(lambda: blasting.board.slots[0].get("open") >= 5)
    blasting.say(enough=True)
    wait_for(lambda: blasting.has_heard("enough"))
    begun = time.monotonic()
    opened = blasting.board.slots[0].get("open")
    blasting.say(hold_ns=time.monotonic_ns() + 5_000_000)
    wait_for(lambda: blasting.board.slots[0].get("phase") == 1)
    time.sleep(0.2)
    would_have_come = (time.monotonic() - begun) * 100
    blasting.say(stop=True)
    # Some had begun by then: on a busy machine, all that had fallen due while the worker stood still.
    assert blasting.board.slots[0].get("open") < opened + would_have_come
    assert blasting.end().counters["asked"] < opened + would_have_come


def test_workers_of_one_core_open_theirs_in_turn(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="60", workers="6", connect_rate="100", duration="1s")
    lanes = blasting.plan.here.lanes
    if lanes >= 6:
        pytest.skip("this machine has a core for each worker")
    first, later = blasting.board.slots[0], blasting.board.slots[lanes]
    wait_for(lambda: first.get("settled") > 0)
    while True:
        opened_later = later.get("settled")
        if first.get("settled") >= 10:  # looked at behind the other: by then it may have begun
            break
        assert opened_later == 0
    wait_for(lambda: later.get("settled") == 10)
    whole = run(blasting)
    assert whole.counters["opened"] == 60
    assert whole.errors == {}


def test_idle_connections_are_probed_when_that_is_asked(server: Server, blast: Blast) -> None:
    port, _board, _control = server()

    def timers() -> set[str]:
        """The timers of our sockets to that port: 02 is keep-alive (proc(5))."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[5].split(":")[0] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}

    blasting = blast(port, connections="5", rate="1", keepalive="30s")
    wait_for(lambda: blasting.settled() == 5)
    wait_for(lambda: timers() == {"02"})


def test_a_tuple_may_be_filled_to_the_last_port(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    # From an address of its own: at 127.0.0.1 another test may have one of the ports.
    routes = (Route("127.77.2.1", LOOPBACK, 50, (47000, 47049)),)
    whole = run(blast(port, connections="50", rate="100", duration="100ms", routes=routes))
    assert whole.counters["opened"] == 50
    assert whole.errors == {}
