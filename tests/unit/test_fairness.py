"""How evenly connections were served, from what each of them got."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from loadkit.measure.board import Board, BoardLayout
from loadkit.measure.histogram import Histogram
from loadkit.measure.samples import WorkerSamples, read_board
from loadkit.measure.tally import record as note
from loadkit.plan.serve import ServePlan
from loadkit.profile.engines import EngineName
from loadkit.report.fairness import fairness_line, fairness_missing, fairness_of, fairness_record
from loadkit.report.histograms import histogram_record
from loadkit.report.merge import merge_records
from tests.golden.made_up import HIGHEST_NS, RUNS, again, page, worker


def _workers(*got: list[int]) -> list[WorkerSamples]:
    return [worker(index, page({"per_connection": each}), page()) for index, each in enumerate(got)]


@pytest.mark.parametrize(
    ("got", "jain"),
    [
        pytest.param([7] * 50, 1.0, id="all the same"),
        pytest.param([9_664] * 20, 1.0, id="all the same, and large"),
        pytest.param([0] * 9 + [100], 0.1, id="one of ten got it all"),
        pytest.param([1, 3], 0.8, id="16 / (2 x 10)"),
        pytest.param([1_000_000, 3_000_000], 0.8, id="large numbers, known to a thousandth"),
    ],
)
def test_the_index_is_jains_over_the_connections_of_all_workers(got: list[int], jain: float) -> None:
    found = fairness_record(_workers(got[:1], got[1:]), "replies")
    assert found is not None
    assert found.jain == pytest.approx(jain, rel=0.001 if jain < 1 else 1e-12)
    assert (found.connections, found.least, found.most, found.each.sum) == (len(got), min(got), max(got), sum(got))


def test_where_none_got_anything_there_is_no_index() -> None:
    found = fairness_record(_workers([0, 0, 0]), "replies")
    assert found is not None
    assert (found.least, found.most, found.jain) == (0, 0, None)
    assert fairness_line(found, None) == "blast 0 replies on each of 3 connections"


def test_what_is_missing_has_its_reason() -> None:
    nobody = _workers([], [])
    assert fairness_record(nobody, "bytes") is None
    assert fairness_missing(nobody) == "no connection of them was open at the end"
    assert fairness_missing(nobody, is_counted=False) == "the bytes of an app are not counted"
    first = nobody[0].phases[0]
    beyond = [replace(nobody[0], phases=(replace(first, dropped={**first.dropped, "per_connection": 1}),)), nobody[1]]
    assert fairness_record(beyond, "bytes") is None
    assert fairness_missing(beyond) == "a connection got more than a histogram here reaches"


def test_merged_runs_have_the_index_of_all_their_connections() -> None:
    one, other = (fairness_record(_workers(got), "replies") for got in ([1] * 4, [3] * 4))
    record = RUNS["open_loop"]()
    left = msgspec.structs.replace(record, fairness=one, fairness_missing=None)
    right = msgspec.structs.replace(again(record), fairness=other, fairness_missing=None)
    both = merge_records([left, right]).fairness
    assert both == fairness_record(_workers([1] * 4, [3] * 4), "replies")
    assert both is not None
    assert Histogram.decode(both.each.hdr, both.each.sum).highest_ns == HIGHEST_NS


_MOST_BYTES = 2**48 - 1  # that the compiled engine counts for a connection
_SERVE = BoardLayout.of_serve(ServePlan(("127.0.0.1",), 0, EngineName.NATIVE, 1, (0,)))


def test_a_serve_end_knows_of_each_connection_what_it_can_have_got() -> None:
    with contextlib.closing(Board(_SERVE)) as board:
        note(board.slots[0].pages[0], "per_connection", np.array([11 * 10**9, _MOST_BYTES]))
        found = fairness_record(read_board(board), "bytes")
    assert found is not None
    assert (found.least, found.most, found.each.sum) == (11 * 10**9, _MOST_BYTES, 11 * 10**9 + _MOST_BYTES)


def test_what_serve_ends_of_other_versions_counted_is_added_whatever_its_range() -> None:
    record = RUNS["closed_loop"]()
    assert record.server is not None
    narrow, wide = (
        fairness_of(histogram_record(Histogram.of([value], highest), 0, "bytes"))
        for value, highest in ((9 * 10**9, 10**10), (11 * 10**9, _SERVE.highest_ns))
    )
    runs = [
        msgspec.structs.replace(again(record, minutes), server=msgspec.structs.replace(record.server, fairness=one))
        for minutes, one in enumerate((narrow, wide))
    ]
    for pair in (runs, runs[::-1]):
        server = merge_records(pair).server
        assert server is not None
        assert server.fairness is not None
        assert (server.fairness.least, server.fairness.most) == (9 * 10**9, 11 * 10**9)


def test_the_line_names_both_ends() -> None:
    blast, serve = (fairness_record(_workers(got), unit) for got, unit in (([9, 10], "replies"), ([64, 64], "bytes")))
    assert fairness_line(blast, serve) == (
        "blast 9 to 10 replies per connection, Jain's index 0.997 (2 connections); serve 64 bytes on each of 2 "
        "connections"
    )
    assert fairness_line(None, None) is None


def test_one_connection_is_neither_served_evenly_nor_unevenly() -> None:
    assert fairness_line(fairness_record(_workers([9]), "replies"), None) is None
