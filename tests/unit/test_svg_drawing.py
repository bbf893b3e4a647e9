"""Lines, bars and heat maps: what is drawn, as paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from loadkit.report.svg.bars import Bar, draw_columns, draw_rows
from loadkit.report.svg.heat import LEVELS, draw_heat, levels_of
from loadkit.report.svg.line import draw_area, draw_between, draw_line, draw_steps
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
    assert paths(plot) == ["M1 2l2 2M5 6"]


def test_a_line_has_its_bends_and_no_point_between_them(plot: Plot) -> None:
    draw_line(plot, [(0, 0), (10, 10.1), (20, 20), (30, 0), (40, 0), (30, 0)], "one")
    assert paths(plot) == ["M0 0l20 20 10-20 10 0-10 0"]


def test_between_two_lines_there_is_one_area(plot: Plot) -> None:
    draw_between(plot, [(0, 9), (5, 5)], [(0, 7), (5, 2)], "band")
    assert paths(plot) == ["M0 9l5-4L5 2l-5 5z"]
    draw_between(plot, [], [], "band")
    assert len(paths(plot)) == 1


def test_a_line_over_areas_has_the_colour_of_the_page_around_it(plot: Plot) -> None:
    draw_line(plot, [(1, 2), (3, 4)], "one", halo=True)
    assert paths(plot) == ["M1 2l2 2"] * 2
    assert [path.get("class") for path in plot.root.iter("path")] == ["s-page", "s-one"]


def test_steps_are_joined_where_they_touch(plot: Plot) -> None:
    draw_steps(plot, [(0, 1, 5), (1, 2, 5), (2, 3, 9), (3, 4, None), (4, 5, 9)], "one")
    assert paths(plot) == ["M0 5h1h1v4h1M4 9h1"]


def test_nothing_is_drawn_of_nothing(plot: Plot) -> None:
    draw_line(plot, [None, None], "one")
    draw_steps(plot, [], "one")
    draw_area(plot, [], 9, "one")
    assert paths(plot) == []


def test_cells_of_a_row_that_touch_and_have_one_colour_are_one_line(plot: Plot) -> None:
    draw_heat(plot, np.array([[1, 1, 0, 1], [1, 1, 2, 0]], np.int64), [10, 20.4, 30, 40, 50], 100, 80)
    # Half of the columns each, and all of the last two.
    assert paths(plot) == ["M10 0.5h20M10 1.5h20", "M40 0.5h10M30 1.5h10"]
    [group] = plot.root.iter("g")
    assert group.get("transform") == "translate(0 100)scale(1 -10)"


def test_cells_of_a_colour_with_others_between_them_are_one_path(plot: Plot) -> None:
    draw_heat(plot, np.array([[1, 5, 1, 1], [9, 5, 9, 9]], np.int64), [0, 10, 20, 30, 40], 50, 0)
    assert "M0 0.5h10m10 0h20" in paths(plot)


def test_columns_without_a_width_are_not_drawn(plot: Plot) -> None:
    draw_heat(plot, np.array([[1, 1]], np.int64), [10, 10.2, 20], 50, 0)
    assert paths(plot) == ["M10 0.5h10"]


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
