"""Each way a peer can misbehave lands in its own counter, and in the right histogram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loadkit.measure.buckets import lowest_of
from loadkit.measure.histogram import Histogram

from .conftest import Run, assert_adds_up, errors_of
from .witness import FIRST, timely, witnessed

pytestmark = pytest.mark.slow
Peer = Callable[..., int]
Blast = Callable[..., Run]

# With -n the last of them are waited for, and none is left unsent because a busy machine stood still at the end.
OPEN = ("-c", "20", "-R", "500", "-n", "1000", "-w", "1")


def share_at_least(histogram: dict[str, Any], ns: int) -> float:
    """Returns the part of the values that are `ns` or more."""
    counts = Histogram.decode(histogram["hdr"], histogram["sum"]).counts
    return float(sum(int(count) for index, count in enumerate(counts) if count and lowest_of(index) >= ns)) / max(
        1, histogram["count"]
    )


def run(blast: Blast, port: int, *options: object, wrapper: tuple[str, ...] = ()) -> dict[str, Any]:
    started = blast(f"127.0.0.1:{port}", *options, wrapper=wrapper)
    started.end()
    assert started.record, started.err
    assert_adds_up(started.record)
    return started.record


@pytest.mark.parametrize("engine", ["auto", "uvloop"])
@pytest.mark.parametrize("piece", [1, 7, 63])
def test_replies_in_pieces_are_whole_replies(peer: Peer, blast: Blast, piece: int, engine: str) -> None:
    record = run(blast, peer("split", piece), *OPEN, "--engine", engine)
    assert errors_of(record) == {}
    assert record["messages"]["replied"] == record["messages"]["intended"] == 1000


@witnessed()
def test_a_delay_of_every_100th_reply_is_one_percent_of_the_latencies(peer: Peer, blast: Blast) -> None:
    # A delayed connection is rarely due again within its 50 ms: 100 connections at 500/s have their turn every 200 ms.
    load = ("-c", "100", "-R", "500", "-n", "2000", "-w", "1")
    record = run(blast, peer("delay-every", 100, 50, behind=FIRST), *load, wrapper=FIRST)
    assert record["messages"]["replied"] == 2000
    assert errors_of(record) == {}
    # 20 of the schedule's, or one less: the peer counts each connection's first message, too.
    share, median = (
        share_at_least(record["histograms"]["service"], 49_000_000),
        record["histograms"]["latency"]["percentiles"]["50"],
    )
    assert share >= 0.0095
    timely(share <= 0.0105 and median < 45_000_000, share, median)


def test_a_peer_that_never_replies_times_every_message_out(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("silent"), *OPEN, "--timeout", "500ms")
    failed = sum(phase["messages"]["failed"] for phase in record["phases"])
    assert errors_of(record) == {"receive REPLY_TIMEOUT": 20}
    # The run's very first message is answered; the first ones of the 19 other connections are none of the schedule's.
    assert failed == 1
    assert record["messages"]["replied"] == 0
    assert record["histograms"]["latency"]["count"] == 0
    assert record["histograms"]["first_byte"]["count"] == 1  # the run's first connection, which had a reply
    assert record["histograms"]["connect"]["count"] == 20
    assert record["verdict"]["state"] == "invalid"
    assert "incomplete" in {reason["code"] for reason in record["verdict"]["reasons"]}


def test_a_reset_after_k_bytes_fails_the_message_under_way(peer: Peer, blast: Blast) -> None:
    # 640 bytes are ten messages: nine replies, the first of them to none of the schedule's, then the reset.
    record = run(blast, peer("reset-after", 640), *OPEN)
    assert errors_of(record) == {"receive ECONNRESET": 20}
    phases = record["phases"]
    assert sum(phase["messages"]["failed"] for phase in phases) == 20
    assert sum(phase["messages"]["replied"] for phase in phases) == 8 * 20
    assert record["messages"]["unsent"] == 1000 - (10 * 20 - 20)
    assert record["connections"]["closed"] == 20


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_what_a_peer_drops_counts_as_late_in_an_objective(peer: Peer, blast: Blast, engine: str) -> None:
    # A message each for 1,000 of the connections, so that one without its reply holds up no other, and the 20 that
    # break are fewer than 1 % of them. p90 is among what came back, p99 is not; the bounds are for a busy machine.
    options = (
        "-c",
        "2500",
        "-R",
        "500",
        "-n",
        "1000",
        "--timeout",
        "5s",
        "-w",
        "1",
        "--engine",
        engine,
    )
    objectives = ("--slo", "latency.p90<1m", "--slo", "latency.p99<1m", "--slo", "service.max<1h")
    started = blast(f"127.0.0.1:{peer('drop-every', 50)}", *options, *objectives)
    status = started.end()
    record = started.record
    assert_adds_up(record)
    messages = record["messages"]
    # The drain lasts as long as the timeout, so the last of them may be unanswered instead.
    assert (messages["intended"], messages["replied"], messages["failed"] + messages["unanswered"]) == (1000, 980, 20)
    assert set(errors_of(record)) == {"receive REPLY_TIMEOUT"}
    never = "never: 2.0 % of 1,000 did not come back"
    assert [(row["ok"], row["reason"]) for row in record["slo"]] == [(True, None), (False, never), (False, never)]
    assert " p99 never, " in started.out.splitlines()[0]
    assert record["histograms"]["latency"]["count"] == 980
    assert status == 3


def test_a_wrong_byte_is_an_error_of_its_own(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("wrong-byte", 100), *OPEN)
    errors = errors_of(record)
    assert set(errors) == {"receive WRONG_BYTES"}
    assert errors["receive WRONG_BYTES"] == sum(phase["messages"]["failed"] for phase in record["phases"]) >= 9


def test_a_wrong_byte_passes_when_the_check_is_off(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("wrong-byte", 100), *OPEN, "--no-check")
    assert errors_of(record) == {}
    assert record["messages"]["replied"] == 1000


def test_a_byte_too_many_is_an_error_of_its_own(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("extra", 100), *OPEN)
    assert set(errors_of(record)) == {"receive EXTRA_BYTES"}


def test_a_close_half_way_through_a_reply_fails_that_message(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("half", 100), *OPEN)
    errors = errors_of(record)
    assert set(errors) == {"receive CLOSED_BY_PEER"}
    assert errors["receive CLOSED_BY_PEER"] == sum(phase["messages"]["failed"] for phase in record["phases"]) >= 9
    received = sum(phase["bytes"]["received"] for phase in record["phases"])
    replied = sum(phase["messages"]["replied"] for phase in record["phases"])
    # The 20 first messages of connections have whole replies too.
    assert received == 64 * (replied + 20) + 32 * errors["receive CLOSED_BY_PEER"]


def test_a_peer_that_stops_listening_refuses_each_connect(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("refuse"), "-c", "20", "--connect-rate", "20", "-R", "100", "-d", "1s", "-w", "1")
    errors = errors_of(record)
    refused = errors.pop("connect ECONNREFUSED")
    # All but the first, before whose reply it has closed its listener.
    assert (refused, errors) == (19, {})
    assert record["connections"]["failed"] == refused
    assert record["connections"]["asked"] == 20
    assert record["verdict"]["state"] == "invalid"
    assert "incomplete" in {reason["code"] for reason in record["verdict"]["reasons"]}


def test_churn_measures_each_connection(peer: Peer, blast: Blast) -> None:
    record = run(blast, peer("echo"), "-c", "10", "-n", "1000", "--lifetime", "0", "-w", "1")
    connections = record["connections"]
    assert connections["opened"] >= 1000
    assert connections["opened"] == connections["asked"] == connections["closed"]
    assert errors_of(record) == {}
    ramp, hold = record["phases"][:2]
    for name in ("connect", "first_byte"):
        both = ramp["histograms"][name]["count"] + hold["histograms"][name]["count"]
        assert record["histograms"][name]["count"] == both
    assert connections["peak"] == 10
