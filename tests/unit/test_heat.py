"""Small pictures for a terminal."""

from __future__ import annotations

import pytest

from loadkit.cli.heat import FINE, Look, bar, binned, heat_strip, sparkline
from loadkit.measure.histogram import Histogram
from loadkit.units import NS_PER_S

PLAIN, BLOCKS, COLOURS = Look(False, False), Look(False, True), Look(True, True)
MS = 10**6


def second(*values_ns: int) -> tuple[int, ...]:
    return binned(Histogram.of(values_ns, 60 * NS_PER_S))


def test_every_value_is_in_one_part_of_a_twelfth_of_a_decade() -> None:
    found = second(0, 500, 1_000, MS, 2 * MS, 60 * NS_PER_S)
    assert (len(found), sum(found)) == (FINE, 6)
    # 1 ms is three decades above 1 us: part 36. 2 ms is log10(2) x 12 = 3.6 parts on.
    assert [part for part, count in enumerate(found) if count] == [0, 36, 39, 93]
    assert found[0] == 3


def test_the_longest_times_are_on_top_and_a_row_says_where_it_begins() -> None:
    rows = [row.plain for row in heat_strip([second(*[2 * MS] * 99, 200 * MS), ()], 3, PLAIN, marks_ns=[50 * MS])]
    assert rows == ["  100 ms |. ", "   10 ms >  ", "    1 ms |@ "]


def test_a_threshold_beyond_the_strip_marks_no_row() -> None:
    rows = heat_strip([second(2 * MS)], 2, PLAIN, marks_ns=[5_000 * MS, 1])
    assert [row.plain[9] for row in rows] == ["|", "|"]


def test_two_parts_of_a_row_are_half_blocks_in_colours() -> None:
    (upper, lower) = heat_strip([second(1 * MS, 5 * MS), second(2 * MS), second(50 * MS)], 2, COLOURS)
    assert lower.plain == "    1 ms |▀▄ "  # from 1 ms and from 3.16 ms
    assert upper.plain == "   10 ms |  ▀"
    both = [span.style for span in lower.spans if span.start == 10][-1]
    assert both.color
    assert both.bgcolor


def test_without_any_value_there_is_an_empty_strip() -> None:
    assert [row.plain[9:] for row in heat_strip([(), ()], 3, BLOCKS)] == ["|  "] * 3


@pytest.mark.parametrize(("look", "expected"), [(PLAIN, " .=@"), (BLOCKS, " ▁▄█")])
def test_a_sparkline_goes_from_nothing_to_the_greatest(look: Look, expected: str) -> None:
    assert sparkline([0, 0.01, 50, 100], look) == expected
    assert sparkline([0, 0], look) == "  "
    assert sparkline([], look) == ""


def test_a_bar_is_filled_by_its_share_and_never_longer() -> None:
    assert [bar(share, 4, PLAIN) for share in (-1, 0, 0.5, 1, 7)] == ["....", "....", "##..", "####", "####"]
