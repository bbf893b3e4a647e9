"""Rates and times against peers whose speed is known, and which say what they did: every engine."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadkit.chance import ARRIVALS, stream
from loadkit.plan.arrivals import arrival_times
from loadkit.plan.pacing import LinearPace

from .conftest import Run, assert_adds_up, start_peer
from .witness import FIRST, timely, witnessed

pytestmark = pytest.mark.slow
Blast = Callable[..., Run]

MS = 1_000_000


class TimedPeer:
    """The peer as a process; `end` returns what it noted of each reply: (came, written), monotonic ns."""

    def __init__(self, *arguments: object, behind: tuple[str, ...] = ()) -> None:
        self._process = start_peer(Path(__file__).with_name("timed_peer.py"), *arguments, behind=behind)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self._log: list[tuple[int, int]] | None = None

    def end(self) -> list[tuple[int, int]]:
        if self._log is None:
            out, _err = self._process.communicate(timeout=60)
            self._log = [(came, written) for came, written in json.loads(out)]
        return self._log


@pytest.fixture
def timed_peer() -> Iterator[Callable[..., TimedPeer]]:
    started: list[TimedPeer] = []

    def start(*arguments: object, behind: tuple[str, ...] = ()) -> TimedPeer:
        started.append(TimedPeer(*arguments, behind=behind))
        return started[-1]

    yield start
    for one in started:
        one.end()


def run(
    blast: Blast,
    port: int,
    *options: object,
    expected: tuple[int, ...] = (0, 3, 4),
    wrapper: tuple[str, ...] = (),
) -> dict[str, Any]:
    started = blast(f"127.0.0.1:{port}", "-w", "1", *options, wrapper=wrapper)
    assert started.end() in expected, started.err
    assert_adds_up(started.record)
    return started.record


def written_between(log: list[tuple[int, int]], record: dict[str, Any], begin_ns: int, end_ns: int) -> int:
    """How many replies the peer wrote between two times of the run, by its own clock."""
    start_s = datetime.datetime.fromisoformat(record["started"]).timestamp()
    start_ns = round(start_s * 1e9) - (time.time_ns() - time.monotonic_ns())
    return sum(start_ns + begin_ns <= written < start_ns + end_ns for _came, written in log)


@pytest.mark.parametrize("rate", [(), ("-R", "300")], ids=["closed loop", "open loop"])
def test_replies_per_second_are_what_the_peer_wrote_in_the_window(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...], rate: tuple[str, ...]
) -> None:
    # 100 connections wait for a peer that answers one message after the other: a reply is a second old when it comes.
    peer = timed_peer("serial", 10)
    record = run(blast, peer.port, "-c", "100", "-d", "2s", "--warmup", "0s", *rate, *engine)
    written = written_between(peer.end(), record, record["window"]["start_ns"], record["window"]["end_ns"])
    # `started` is known to the millisecond, and a reply that was written at an edge may be read behind it.
    assert record["window"]["replied"] == pytest.approx(written, rel=0.01, abs=2)
    assert record["rates"]["replies_per_s"] == record["window"]["replied"] / 2
    assert record["rates"]["received_bytes_per_s"] == pytest.approx(64 * record["rates"]["replies_per_s"])
    assert record["workers"][0]["replied"] == record["window"]["replied"]
    if rate:
        messages = record["messages"]
        assert messages["intended"] == 600
        assert messages["unsent"] > 300
        # What it did not send at once waited for the peer, and not for us: most, or on a busy machine a part.
        lateness, held = (record["histograms"][name]["percentiles"]["90"] for name in ("lateness", "held"))
        assert lateness < held


@pytest.mark.parametrize("rate", [(), ("-R", "150")], ids=["closed loop", "open loop"])
@witnessed()
def test_the_times_are_the_peers(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...], rate: tuple[str, ...]
) -> None:
    peer = timed_peer("delay", 300, behind=FIRST)
    load = ("-c", "60", "-d", "1500ms", "--warmup", "0s")
    record = run(blast, peer.port, *load, *rate, *engine, wrapper=FIRST)
    least = min(written - came for came, written in peer.end())
    histograms = record["histograms"]
    for name in ("service", "latency", "first_byte"):
        ratio = histograms[name]["min"] / least
        assert ratio >= 0.99, name
        timely(ratio <= 1.05, name, ratio)
    if rate:
        parts = ("lateness", "held", "service")
        assert histograms["latency"]["sum"] == sum(histograms[name]["sum"] for name in parts)
    else:
        assert histograms["lateness"] is histograms["held"] is None
        assert "closed loop" in record["histograms_missing"]["lateness"]


def test_what_waits_for_room_is_held_and_not_late(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    # One connection, a reply every 50 ms, a message due every 25: number k is sent 25 k ms late, for want of room.
    peer = timed_peer("delay", 50)
    record = run(blast, peer.port, "-c", "1", "-R", "40", "-n", "20", *engine)
    assert record["messages"]["sent"] == record["messages"]["replied"] == 20
    held = record["histograms"]["held"]
    log = peer.end()[1:]  # without the first message of the connection
    assert len(log) == 20
    # By the peer's clock: message k came when it came, and was intended k x 25 ms after the first.
    waited = [came - log[0][0] - k * 25 * MS for k, (came, _written) in enumerate(log)]
    # The two clocks are apart by how late we were and by what a message and its reply took beside the peer's delay.
    lateness, service = record["histograms"]["lateness"], record["histograms"]["service"]
    apart = lateness["max"] + service["max"] - min(written - came for came, written in log)
    assert held["max"] == pytest.approx(max(waited), rel=0.02, abs=apart)
    assert record["messages"]["waited"] == 19
    assert lateness["percentiles"]["50"] < held["percentiles"]["50"] / 4


def test_a_window_of_n_messages_is_as_long_as_they_take(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    # 20 replies after 100 ms are 200 per second at the most; today's other ends of the window would say thousands.
    closed = run(
        blast,
        timed_peer("delay", 100).port,
        "-c",
        "20",
        "-n",
        "20",
        "--slo",
        "replies_per_s>=1k",
        *engine,
        expected=(3,),
    )
    assert closed["rates"]["replies_per_s"] <= 200
    # n / rate: two messages at 10/s take 0.2 s.
    paced = run(blast, timed_peer("delay", 1).port, "-c", "2", "-R", "10", "-n", "2", *engine)
    # Or, where this machine kept the second of them for longer, until its reply: it is due after 100 ms.
    last = 100 * MS + paced["histograms"]["latency"]["max"]
    assert 199.8 * MS <= paced["window"]["measured_ns"] <= 1.02 * max(200 * MS, last)
    assert paced["window"]["sent"] == 2


def test_n_counts_measured_messages_alone(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    peer = timed_peer("delay", 1)
    record = run(blast, peer.port, "-c", "4", "-n", "50", "--warmup", "300ms", *engine)
    assert record["messages"]["intended"] == record["messages"]["replied"] == 50
    warmup = next(phase for phase in record["phases"] if phase["kind"] == "warm-up")
    assert warmup["messages"]["replied"] > 0


def test_the_backlog_of_a_phase_does_not_eat_the_next_one(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    peer = timed_peer("serial", 2)
    options = ("-c", "10", "-R", "20k", "-d", "2s", "--warmup", "1s")
    record = run(blast, peer.port, *options, *engine, expected=(4,))
    warmup, hold = (phase for phase in record["phases"] if phase["kind"] in ("warm-up", "hold"))
    assert warmup["messages"]["intended"] == 20_000
    assert hold["messages"]["intended"] == 40_000
    # Each phase has its own replies and its own unsent; messages in flight, 10 at the most, cross the edge.
    log, window = peer.end(), record["window"]
    for phase, begin_ns, end_ns in (
        (warmup, window["start_ns"] - 1000 * MS, window["start_ns"]),
        (hold, window["start_ns"], window["end_ns"]),
    ):
        assert phase["messages"]["replied"] == pytest.approx(written_between(log, record, begin_ns, end_ns), abs=20)
    # The latency grows through the hold, from nothing on.
    medians = [row["latency"]["p50"] for row in record["intervals"] if row["phase"] == "hold" and row["latency"]["p50"]]
    assert all(early < late for early, late in pairwise(medians))
    latency = record["histograms"]["latency"]
    assert latency["min"] < latency["max"] / 4
    assert record["window"]["measured_ns"] == pytest.approx(2000 * MS, rel=0.001)


def test_the_first_messages_of_connections_are_none_of_the_schedules(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    # Churn opens connections all the time, and the peer answers nothing but the first message of each.
    peer = timed_peer("first")
    record = run(
        blast,
        peer.port,
        *("-c", "20", "--lifetime", "50ms", "-R", "40", "-d", "1500ms", "--warmup", "0s", "--timeout", "300ms"),
        *("--slo", "replies_per_s>=20", "--slo", "latency.p50<1s"),
        *engine,
        expected=(3, 4),
    )
    assert record["messages"]["intended"] == 60
    assert record["messages"]["replied"] == 0
    assert record["rates"]["replies_per_s"] == 0
    assert record["histograms"]["first_byte"]["count"] > 2 * 20
    assert record["bytes"]["received"] > 64 * 2 * 20
    assert [objective["ok"] for objective in record["slo"]] == [False, False]


@witnessed()
def test_a_reply_after_the_timeout_is_none(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    # The first reply has to come in time, or the target is refused as a whole: --timeout is that of four of the ten.
    peer = timed_peer("serial", 100, behind=FIRST)
    options = ("-c", "10", "-R", "200", "-d", "1500ms", "--warmup", "0s", "--timeout", "500ms")
    record = run(blast, peer.port, *options, *engine, wrapper=FIRST)
    # A 64th is what it may be found later; and a reply is read a little after the wait that told of it.
    most = 500 * MS * (1 + 1 / 64) + 15 * MS
    for phase in record["phases"]:
        service = phase["histograms"]["service"]["max"] or 0
        assert service <= most + record["standstills"]["sum_ns"]  # while this end stood still no reply got older
        timely(service <= most, service)
    errors = {row["error"] for row in record["errors"]}
    assert errors == {"REPLY_TIMEOUT"}


def _lindley(intended: list[int], services: list[int]) -> float:
    """The mean time from intended to done, ns, of a server that takes one message after the other."""
    done = total = 0
    for at, service in zip(intended, services, strict=True):
        done = max(done, at) + service
        total += done - at
    return total / len(intended)


@witnessed()
def test_random_arrivals_queue_as_theory_says_and_latency_has_the_wait(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    """M/D/1, by the times that were intended and by what the peer took for each message."""
    peer = timed_peer("serial", 5, behind=FIRST)
    options = ("-c", "30", "-R", "110", "-d", "2s", "--warmup", "0s", "--arrivals", "exp", "--seed", "7")
    record = run(blast, peer.port, *options, *engine, wrapper=FIRST)
    intended = list(arrival_times(LinearPace(0, 2000 * MS, 110, 110), stream(7, ARRIVALS, 1), 0, 1))
    messages, latency = record["messages"], record["histograms"]["latency"]
    assert messages["intended"] == len(intended)
    timely(messages["unsent"] == 0, messages)
    log = peer.end()[30:]  # without the first message of each connection
    assert len(log) == messages["replied"]
    services = [written - max(came, before) for (_, before), (came, written) in pairwise([(0, 0), *log])]
    # No server can be faster than that; the rest is the way there and back, and both ends' wake-ups.
    if messages["unsent"] == 0:
        ratio = latency["mean"] / _lindley(intended, services)
        assert ratio >= 0.98
        timely(ratio <= 1.25, ratio)
    # Even arrivals at 55 % of capacity would never wait; these do, for 0.55 / (2 x 0.45) of a service on average.
    assert latency["mean"] > 1.25 * sum(services) / len(services)


@witnessed()
def test_a_loop_that_thinks_sends_as_fast_as_replies_and_pauses_let_it(
    blast: Blast, timed_peer: Callable[..., TimedPeer], engine: tuple[str, ...]
) -> None:
    # Each of 20 connections has a message per 50 ms of the peer's delay and 50 ms of pause: 200 per second in all.
    peer = timed_peer("delay", 50, behind=FIRST)
    options = ("-c", "20", "-d", "1s", "--warmup", "0s", "--think", "uniform:40ms-60ms", "--seed", "7")
    record = run(blast, peer.port, *options, "--slo", "lateness.p50<40ms", *engine, wrapper=FIRST)
    assert record["rates"]["replies_per_s"] <= 200 * 1.02
    timely(record["rates"]["replies_per_s"] >= 160, record["rates"])
    histograms = record["histograms"]
    assert histograms["service"]["min"] >= 0.99 * min(written - came for came, written in peer.end())
    assert histograms["latency"]["sum"] == sum(histograms[name]["sum"] for name in ("lateness", "held", "service"))
    assert histograms["held"]["max"] == 0
    assert "lateness" not in record["histograms_missing"]
    assert (record["load"]["think"], record["load"]["seed"]) == ("uniform:40ms-60ms", 7)
    timely(record["slo"][0]["ok"], histograms["lateness"])
