from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadkit.plan.messages import Pool
from loadkit.plan.target import Target
from loadkit.profile.blast import Arrivals
from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_text
from loadkit.report.record import Reason, RunRecord, SloRecord, Verdict
from loadkit.report.summary import complaints, crowd_line, headline, load_line, lost_line, target_line
from loadkit.wire.render import Order
from tests.golden.made_up import (
    MS,
    REMOTE,
    RUNS,
    US,
    exchanged,
    made_up_plan,
    made_up_record,
    made_up_samples,
    page,
    steady,
    worker,
)
from tests.golden.made_up import ramp as ramped


def _record(rate_hz: float | None = None, target: Target = REMOTE, replies: int = 2_000, **changes: Any) -> RunRecord:
    return made_up_record(made_up_plan(rate_hz, target, **changes), steady([MS] * replies, [20 * US] * replies))


def test_the_headline_is_the_verdict_and_the_figures_asked_for_first() -> None:
    assert headline(_record()) == "valid: 400/s replies, latency p50 1 ms p99 1 ms, 0 errors"


def test_the_headline_says_when_a_run_is_partial_and_nothing_was_measured() -> None:
    assert headline(RUNS["interrupted"]()) == ("invalid, partial: no measured replies, 0 errors, 1 SLO missed")


def test_the_headline_says_how_many_objectives_were_missed() -> None:
    slo = tuple(SloRecord("errors==0", 1, ok) for ok in (False, True, False))
    assert headline(msgspec.structs.replace(_record(), slo=slo)).endswith(", 0 errors, 2 SLOs missed")
    assert headline(msgspec.structs.replace(_record(), slo=slo[1:2])).endswith(", 0 errors")


_POOL = Pool(messages=65_536, mean_bytes=70.0, memory_bytes=2**23, is_random=True)


@pytest.mark.parametrize(
    ("rate_hz", "changes", "said"),
    [
        (None, {"sizes": "exp:1KiB", "pool": _POOL, "seed": 7}, "messages of exp:1KiB (mean 70 B, seed 7), depth 1"),
        (None, {"send": ("a",), "pool": _POOL, "seed": None}, "messages of 1 text (mean 70 B, seeds of their own), "),
        (
            None,
            {"send": ("a", "b"), "pool": msgspec.structs.replace(_POOL, is_random=False)},
            "messages of 2 texts in turn (mean 70 B), ",
        ),
        (
            None,
            {"send": ("a", "b"), "pool": _POOL, "order": Order.RANDOM, "seed": 7},
            "messages of 2 texts at random (mean 70 B, seed 7), ",
        ),
        # The seed is named once.
        (
            400,
            {"sizes": "exp:1KiB", "pool": _POOL, "seed": 7, "arrivals": Arrivals.EXP},
            "(Poisson, seed 7), 200/s sent; messages of exp:1KiB (mean 70 B), ",
        ),
    ],
)
def test_the_load_says_what_was_sent_and_the_mean_of_it(
    rate_hz: float | None, changes: dict[str, Any], said: str
) -> None:
    record = _record(rate_hz, **changes)
    assert record.window is not None
    # In a window with 2,000 messages 10 connections opened, each with a first message that no schedule wanted.
    messages = 2_010 if rate_hz else 2_000
    window = msgspec.structs.replace(record.window, sent=2_000, opened=10, sent_bytes=70 * messages)
    assert said in load_line(msgspec.structs.replace(record, window=window))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("derived", "the limit is 20,000 files per process"),
        ("option", "as --workers asks"),
        ("profile", "as --workers asks"),
        ("environment LOADKIT_BLAST_WORKERS", "as --workers asks"),
    ],
)
def test_more_workers_than_cores_are_laid_on_what_asked_for_them(source: str, why: str) -> None:
    record = RUNS["crowd"]()
    origins = msgspec.structs.replace(record.origins, placement=record.origins.placement | {"workers": source})
    record = msgspec.structs.replace(record, origins=origins)
    assert crowd_line(record) == f"4 to blast on 2 cores: {why}"
    (placement,) = record.placements
    assert placement.serve is not None
    placement = msgspec.structs.replace(placement, serve=msgspec.structs.replace(placement.serve, workers=5))
    both = crowd_line(msgspec.structs.replace(record, placements=(placement,)))
    files = "the limit is 20,000 files per process"
    assert both == (
        f"4 to blast on 2 cores, 5 to serve on 2 cores: {files}"
        if why == files
        else f"4 to blast on 2 cores: {why}; 5 to serve on 2 cores: {files}"
    )


def test_the_headline_counts_the_errors_of_the_whole_run() -> None:
    first = ramped(errors={("connect", "ECONNREFUSED"): 1})
    samples = made_up_samples(worker(0, first, page(), exchanged([MS] * 1_000), page()))
    assert headline(made_up_record(made_up_plan(), samples)).endswith(", 1 error")


def test_a_run_is_complained_of_in_a_line_for_each_reason_and_each_missed_objective() -> None:
    assert complaints(_record()) == []
    bad = msgspec.structs.replace(
        _record(),
        verdict=Verdict("suspect", (Reason("late", "by a lot"), Reason("stood-still", "twice"))),
        slo=(SloRecord("errors==0", 0, True), SloRecord("latency.p99<5ms", 30 * MS, False)),
    )
    assert complaints(bad) == [
        "suspect: late: by a lot",
        "suspect: stood-still: twice",
        "SLO missed: latency.p99<5ms (30 ms)",
    ]


def _dropping(replied: int, lost: int) -> RunRecord:
    hold = exchanged([MS] * replied, intended=lost, sent=lost, failed=lost)
    return made_up_record(made_up_plan(400.0), made_up_samples(worker(0, ramped(100), page(), hold, page(), peak=100)))


@pytest.mark.parametrize(
    ("replied", "lost", "times"),
    [
        pytest.param(10_000, 0, "p50 1 ms p99 1 ms p99.9 1 ms", id="nothing lost"),
        pytest.param(9_995, 5, "p50 1 ms p99 1 ms p99.9 1 ms", id="fewer lost than lie above p99.9"),
        pytest.param(9_950, 50, "p50 1 ms p99 1 ms p99.9 never", id="p99.9 is among the lost"),
        pytest.param(9_800, 200, "p50 1 ms p99 never p99.9 never", id="p99 is among the lost"),
        pytest.param(4_000, 6_000, "p50 never p99 never p99.9 never", id="the median is among the lost"),
        pytest.param(50, 50, "p50 1 ms", id="what the count does not support is left out"),
    ],
)
def test_the_headline_counts_what_never_came_back_as_late(replied: int, lost: int, times: str) -> None:
    assert f" replies, latency {times}, 0 errors" in headline(_dropping(replied, lost))


def test_the_tables_say_that_they_are_of_what_came_back() -> None:
    lost = _dropping(9_800, 200)
    says = "200 of 10,000 messages did not come back"
    assert lost_line(lost) is not None
    for text in (as_text(lost), as_markdown(lost)):
        assert says in text
        assert "came back" in next(line for line in text.splitlines() if "p99.99" in line)
    assert lost_line(_dropping(10_000, 0)) is None


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (REMOTE, "db.example = 10.0.0.1, port 7000"),
        (Target("10.0.0.1", ("10.0.0.1",), 7), "10.0.0.1, port 7"),
        (
            Target("embedded", ("127.0.0.1", "127.0.0.2", "127.0.0.3"), 7, embedded=True),
            "embedded server on 127.0.0.1 to 127.0.0.3, port 7",
        ),
    ],
)
def test_the_target_is_named_with_its_addresses(target: Target, line: str) -> None:
    assert target_line(_record(target=target)) == line


def test_an_open_loop_says_the_rate_asked_and_the_rate_achieved() -> None:
    assert load_line(_record(500.0)).startswith("open loop at 500/s requested, 400/s sent; 64 B messages, depth 1")


@pytest.mark.parametrize(("seed", "said"), [(7, "seed 7"), (None, "seeds of their own")])
def test_random_arrivals_are_named_with_what_repeats_them(seed: int | None, said: str) -> None:
    record = _record(500.0)
    drawn = msgspec.structs.replace(record.load, arrivals=Arrivals.EXP, seed=seed)
    line = load_line(msgspec.structs.replace(record, load=drawn))
    assert line.startswith(f"open loop at 500/s requested (Poisson, {said}), 400/s sent; 64 B messages")


def test_pauses_are_named_with_what_repeats_them() -> None:
    record = _record()
    load = msgspec.structs.replace(record.load, think="exp:2s", seed=7)
    line = load_line(msgspec.structs.replace(record, load=load))
    assert line.startswith("closed loop with pauses of exp:2s (seed 7), 64 B messages, depth 1")


def test_a_closed_loop_says_what_it_hides() -> None:
    line = load_line(_record())
    assert line.startswith("closed loop, 64 B messages, depth 1")
    assert "which hides stalls of the server" in line
    assert "use -R" in line
