"""Lines, bars and heat maps: what is drawn, as paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from loadkit.report.svg.bars import Bar, draw_columns, draw_rows
from loadkit.report.svg.heat import LEVELS, draw_heat, levels_of
from loadkit.report.svg.line import draw_area, draw_line, draw_steps
from loadkit.report.svg.plot import Plot, number
from loadkit.report.svg.scale import Scale, Tick


@pytest.fixture
def plot() -> Plot:
    return Plot("x", "A title", "what it shows", height=200, margins=(10, 10, 10, 10), width=220)


def paths(plot: Plot) -> list[str]:
    return [path.get("d") or "" for path in plot.root.iter("path")]


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (1.04, "1"), (1.25, "1.2"), (-0.01, "0"), (99.96, "100")])
def test_a_coordinate_is_as_short_as_can_be_seen(value: float, text: str) -> None:
    assert number(value) == text


def test_a_line_has_gaps_and_no_point_twice(plot: Plot) -> None:
    draw_line(plot, [(1, 2), (1.01, 2.01), (3, 4), None, (5, 6)], "one")
    assert paths(plot) == ["M1 2L3 4M5 6"]


def test_a_line_over_areas_has_the_colour_of_the_page_around_it(plot: Plot) -> None:
    draw_line(plot, [(1, 2), (3, 4)], "one", halo=True)
    assert paths(plot) == ["M1 2L3 4"] * 2
    assert [path.get("class") for path in plot.root.iter("path")] == ["s-page", "s-one"]


def test_steps_are_joined_where_they_touch(plot: Plot) -> None:
    draw_steps(plot, [(0, 1, 5), (1, 2, 5), (2, 3, 9), (3, 4, None), (4, 5, 9)], "one")
    assert paths(plot) == ["M0 5H1H2V9H3M4 9H5"]


def test_nothing_is_drawn_of_nothing(plot: Plot) -> None:
    draw_line(plot, [None, None], "one")
    draw_steps(plot, [], "one")
    draw_area(plot, [], 9, "one")
    assert paths(plot) == []


def test_cells_of_a_column_that_touch_and_have_one_colour_are_one_line(plot: Plot) -> None:
    draw_heat(plot, np.array([[1, 0], [1, 2], [0, 0]], np.int64), [10, 20, 30], 100, 70)
    # Half of the column each, and all of it.
    assert paths(plot) == ["M15 0v2", "M25 1v1"]
    assert {path.get("stroke-width") for path in plot.root.iter("path")} == {"10"}
    assert {path.get("transform") for path in plot.root.iter("path")} == {"translate(0 100)scale(1 -10)"}


def test_cells_of_a_colour_with_others_between_them_are_one_path(plot: Plot) -> None:
    draw_heat(plot, np.array([[1], [5], [0], [1], [5]], np.int64), [10, 20], 50, 0)
    assert "M15 1v1m0 2v1" in paths(plot)


def test_a_cell_is_coloured_by_its_share_of_its_column() -> None:
    counts = np.array([[0, 1, 100], [10, 999, 0], [10, 0, 0]], np.int64)
    # 1 of 1,000 reaches the second step, a half the sixth, nearly all the last; nothing is no colour.
    assert levels_of(counts).tolist() == [[0, 2, 7], [6, 7, 0], [6, 0, 0]]
    assert LEVELS[1] == 0.001


def test_a_bar_of_little_is_seen_and_one_of_nothing_is_not_there(plot: Plot) -> None:
    scale = Scale(0, 1000, plot.bottom, plot.top)
    draw_columns(plot, [Bar(0, 0.001, "one"), Bar(0, 0, "one"), Bar(0, 1000, "one")], scale)
    assert [box.get("height") for box in plot.root.iter("rect")] == ["1", "0", "180"]


def test_rows_have_their_parts_in_turn_and_their_text_behind_the_last(plot: Plot) -> None:
    draw_rows(plot, [("a", [Bar(0, 5, "one"), Bar(5, 10, "two")], "all")], Scale(0, 10, plot.left, plot.right))
    assert [(box.get("x"), box.get("width")) for box in plot.root.iter("rect")] == [("10", "100"), ("110", "100")]
    assert [(text.text, text.get("x")) for text in plot.root.iter("text")] == [("a", "4"), ("all", "215")]


def test_labels_keep_out_of_each_others_way(plot: Plot) -> None:
    plot.labels_beside([(100, "a", "one"), (101, "b", "two"), (189, "c", "one"), (190, "d", "one")])
    heights = [float(text.get("y") or 0) for text in plot.root.iter("text")]
    assert all(later - before >= 13 for before, later in itertools.pairwise(heights))
    assert heights[-1] <= plot.bottom + 4


def test_texts_of_an_axis_that_would_overlap_are_left_out(plot: Plot) -> None:
    scale = Scale(0, 100, plot.left, plot.right)
    plot.across(scale, [Tick(at, f"{at},000,000") for at in range(0, 100, 5)], "what")
    texts = [text.text for text in plot.root.iter("text")]
    assert texts[0] == "0,000,000"
    assert 2 < len(texts) < 6
    assert texts[-1] == "what"


def test_a_picture_says_what_it_is(plot: Plot) -> None:
    assert plot.root.get("aria-labelledby") == "x-t x-d"
    assert [(one.get("id"), one.text) for one in list(plot.root)[:2]] == [("x-t", "A title"), ("x-d", "what it shows")]
