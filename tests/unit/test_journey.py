"""A journey in a record, and the sentence about it, from made-up stages."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.measure.board import TAIL_ROWS
from loadkit.measure.names import JOURNEY_SOURCES, STAGES
from loadkit.report.as_text import as_text
from loadkit.report.diagnosis import diagnose
from loadkit.report.journey import journey_missing, journey_record, tail_from
from loadkit.report.merge import merge_records
from loadkit.report.reading import load
from loadkit.report.record import Journey, Kernel, RunRecord, WorkerRecord
from loadkit.report.writing import encode
from tests.golden.made_up import BOTH_ENDS, MS, RUNS, US, again, journeys, page, travelled, worker

FOREIGN = {
    "held": 0,
    "late": US,
    "send": US,
    "queue": US,
    "peer": 30 * US,
    "busy": 0,
    "wake": 9 * US,
    "batch": US,
    "read": US,
}


def a_journey(times: list[dict[str, int]], source: str = "same_clock") -> Journey:
    one = worker(0, page(probes=4), journey_source=JOURNEY_SOURCES.index(source))
    found = journey_record([one], travelled(page(), times), 64)
    assert found is not None
    return found


def test_the_rows_of_tails_go_up_by_quarters_of_an_octave() -> None:
    edges = [tail_from(row) for row in range(TAIL_ROWS)]
    assert edges[:13] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert all(low < high for low, high in itertools.pairwise(edges))
    assert edges[-1] > 10**12  # a quarter of an hour: more than any time-out


@given(st.lists(st.lists(st.integers(0, 10**7), min_size=14, max_size=14), min_size=1, max_size=30))
def test_what_stages_add_up_to_is_the_total_of_every_row(times: list[list[int]]) -> None:
    found = a_journey([dict(zip(BOTH_ENDS, values, strict=True)) for values in times])
    assert sum(stage.sum for stage in found.stages.values()) == found.total.sum
    assert sum(tail.count for tail in found.tails) == found.total.count == found.count == len(times)
    assert sum(sum(tail.stages.values()) for tail in found.tails) == found.total.sum
    assert sum(found.shares.values()) == pytest.approx(1 if found.total.sum else 0)


@pytest.mark.parametrize(
    ("count", "slow", "slowest"),
    [
        pytest.param(2_000, 20, 20, id="the slowest hundredth"),
        pytest.param(100, 10, 10, id="too few for a hundredth: the slowest tenth"),
        pytest.param(99, 10, None, id="too few for that"),
    ],
)
def test_the_slowest_are_as_many_as_can_be_told_of(count: int, slow: int, slowest: int | None) -> None:
    found = a_journey(journeys(count, slow, BOTH_ENDS, BOTH_ENDS | {"serve_code": 9 * MS}))
    assert found.slowest_count == slowest
    if slowest:
        assert found.slowest_shares is not None
        assert found.slowest_from_ns is not None
        assert found.slowest_shares["serve_code"] > 0.98
        assert MS < found.slowest_from_ns <= 9 * MS + sum(BOTH_ENDS.values())


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        pytest.param({"serve_batch": 9 * MS}, "99% of the time of the slowest 2% is waiting, unread, for", id="batch"),
        pytest.param(
            {"serve_batch": 9 * MS}, "(2.2 events per wake-up): one core does not keep up there; use", id="why"
        ),
        pytest.param({"serve_busy": 9 * MS}, "waiting, unread, for the serve end's loop", id="receive buffer"),
        pytest.param({"busy": 5 * MS, "batch": 4 * MS}, "the generator does not keep up", id="blast end"),
        pytest.param({"late": 9 * MS}, "the generator does not keep up", id="sent late"),
        pytest.param({"serve_wake": 9 * MS}, "the serve end, and no other process had its core", id="idle states"),
        pytest.param(
            {"wake": 9 * MS}, "waking up the blast end, and no other process had its core", id="at the blast end"
        ),
        pytest.param({"serve_code": 9 * MS}, "the serve end's own code", id="echo"),
        pytest.param({"queue": 9 * MS}, "see `tc -s qdisc`", id="queueing discipline"),
        pytest.param({"there": 5 * MS, "back": 5 * MS}, "is TCP/IP and the network: see the kernel's", id="network"),
        pytest.param(
            {"there": MS, "serve_code": MS, "wake": MS}, "nothing dominates the slowest 2%: 33% is TCP/IP", id="many"
        ),
    ],
)
def test_the_sentence_names_the_largest_cause_and_what_to_do(slow: dict[str, int], says: str) -> None:
    record = RUNS["journey"]()
    found = a_journey(journeys(1_000, 20, BOTH_ENDS, BOTH_ENDS | slow))
    said = diagnose(msgspec.structs.replace(record, journey=found))
    assert said is not None
    assert says in said


def test_waking_up_late_on_a_busy_machine_is_for_want_of_cpu() -> None:
    record = RUNS["journey"]()
    waited = tuple(msgspec.structs.replace(one, run_delay_share=0.12) for one in record.workers)
    found = a_journey(journeys(1_000, 20, BOTH_ENDS, BOTH_ENDS | {"wake": 9 * MS}))
    said = diagnose(msgspec.structs.replace(record, journey=found, workers=waited))
    assert said is not None
    assert "waited for a core for 12% of the time: the machine is out of CPU" in said


@pytest.mark.parametrize("stage", ["serve_batch", "busy"])
@pytest.mark.parametrize(
    ("stolen", "delay", "says"),
    [
        pytest.param(0.12, 0.2, "the host took 12% of this machine's CPU time", id="stolen"),
        pytest.param(0.0, 0.2, "other processes had its core for 20% of the time", id="run delay"),
        pytest.param(0.0, 0.0, "some of its turns are long", id="its own"),
    ],
)
def test_a_loop_with_little_to_do_is_not_told_to_have_more_workers(
    stage: str, stolen: float, delay: float, says: str
) -> None:
    record = RUNS["journey"]()
    assert record.server is not None

    def idle(workers: tuple[WorkerRecord, ...]) -> tuple[WorkerRecord, ...]:
        return tuple(msgspec.structs.replace(one, busy_share=0.17, run_delay_share=delay) for one in workers)

    record = msgspec.structs.replace(
        record,
        journey=a_journey(journeys(1_000, 20, BOTH_ENDS, BOTH_ENDS | {stage: 9 * MS})),
        workers=idle(record.workers),
        server=msgspec.structs.replace(record.server, workers=idle(record.server.workers)),
        kernel=Kernel({}, {}, {}, {"steal": stolen}, ()),
    )
    said = diagnose(record)
    assert said is not None
    assert says in said
    assert "(busy 17% of the time)" in said
    assert "more" not in said


def test_of_a_foreign_peer_no_more_is_said_than_is_known() -> None:
    found = a_journey(journeys(1_000, 20, FOREIGN, FOREIGN | {"peer": 9 * MS}), "foreign")
    assert set(found.stages) == set(FOREIGN)
    said = diagnose(msgspec.structs.replace(RUNS["journey"](), journey=found))
    assert said is not None
    assert "is the network and the peer: `loadkit serve` in its place" in said


def test_what_was_held_behind_another_message_is_not_blamed() -> None:
    slow = BOTH_ENDS | {"held": 50 * MS, "serve_wake": 5 * MS}
    found = a_journey(journeys(1_000, 20, BOTH_ENDS, slow))
    said = diagnose(msgspec.structs.replace(RUNS["journey"](), journey=found))
    assert said is not None
    assert "99% of the time under way of the slowest 2% is waking up the serve end" in said


def test_of_few_messages_nothing_is_said() -> None:
    found = a_journey(journeys(50, 5, BOTH_ENDS, BOTH_ENDS))
    assert diagnose(msgspec.structs.replace(RUNS["journey"](), journey=found)) is None
    assert diagnose(RUNS["native"]()) is None


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("not_opened", "did not echo a probe's first message"),
        ("no_stamps", "refuses SO_TIMESTAMPING"),
        ("no_waits", "this engine does not show when it waits"),
        ("not_compiled", "the compiled part is missing"),
        ("no_echo", "only an echo server can be asked"),
        ("same_clock", "no probe's message was replied to"),
    ],
)
def test_where_there_is_none_the_record_says_why(source: str, says: str) -> None:
    one = worker(0, page(), journey_source=JOURNEY_SOURCES.index(source))
    assert journey_record([one], travelled(page(), []), 64) is None
    assert says in journey_missing([one])
    missing = msgspec.structs.replace(RUNS["journey"](), journey=None, journey_missing=journey_missing([one]))
    assert f"not measured: {says[:20]}" in " ".join(as_text(missing).split()) or says in as_text(missing)


def _sums(record: RunRecord) -> dict[str, Any]:
    assert record.journey is not None
    return {name: (stage.count, stage.sum, stage.max) for name, stage in record.journey.stages.items()}


def test_merged_runs_have_one_journey_of_both() -> None:
    one = RUNS["journey"]()
    both = merge_records([one, again(one)])
    assert both.journey is not None
    assert one.journey is not None
    assert both.journey.count == 2 * one.journey.count
    assert both.journey.shares == pytest.approx(one.journey.shares)
    assert both.journey.slowest_shares == pytest.approx(one.journey.slowest_shares)
    assert both.journey.diagnosis == one.journey.diagnosis
    assert _sums(both) == {name: (2 * count, 2 * total, most) for name, (count, total, most) in _sums(one).items()}
    without = msgspec.structs.replace(again(one), journey=None, journey_missing="no stamps")
    for runs in ([one, without], [without, one]):
        merged = merge_records(runs)
        assert (merged.journey, merged.journey_missing) == (None, "no stamps")
    foreign = msgspec.structs.replace(again(one), journey=msgspec.structs.replace(one.journey, peer="foreign"))
    merged = merge_records([one, foreign])
    assert (merged.journey, merged.journey_missing) == (None, "merged: what the runs measured is of unlike kinds")


def test_a_journey_is_read_back_as_it_was_written(tmp_path: Any) -> None:
    path = tmp_path / "run.json"
    path.write_text(encode(RUNS["journey"]()))
    assert load(str(path)).journey == RUNS["journey"]().journey


def test_every_stage_has_words_and_a_cause() -> None:
    for stage in STAGES[1:-1]:  # held has none
        times = dict.fromkeys(BOTH_ENDS, 0) | {stage: MS}
        record = msgspec.structs.replace(RUNS["journey"](), journey=a_journey([times] * 100))
        said = diagnose(record)
        assert said is not None
        assert said.startswith("100% of the time of the slowest ")
        rows = as_text(record).splitlines()
        assert len([row for row in rows if row.startswith("  ") and row.endswith(" 100%")]) == 1
