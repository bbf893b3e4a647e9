from __future__ import annotations

import math
import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.chance import share_at
from loadkit.distribution import Distribution, Drawing, Durations, Shape, Sizes

MS = 1_000_000

# Text, what it is, its mean, the least and the most that is drawn.
_READ = [
    pytest.param(Durations, "5ms", Shape.CONSTANT, (5 * MS,), 5 * MS, 5 * MS, 5 * MS, id="a duration"),
    pytest.param(Durations, "0", Shape.CONSTANT, (0,), 0, 0, 0, id="no time at all"),
    pytest.param(Sizes, 64, Shape.CONSTANT, (64,), 64, 64, 64, id="a number of bytes"),
    pytest.param(Sizes, "1k", Shape.CONSTANT, (1000,), 1000, 1000, 1000, id="a size"),
    pytest.param(Sizes, "uniform:64B-4KiB", Shape.UNIFORM, (64, 4096), 2080, 64, 4096, id="uniform"),
    pytest.param(Durations, "uniform:0-1ms", Shape.UNIFORM, (0, MS), MS / 2, 0, MS, id="uniform from 0 on"),
    # 40 octaves: ln(2**40) = 27.7 means
    pytest.param(Durations, "exp:1ms", Shape.EXP, (MS,), MS, 0, 27_725_887, id="exp"),
    pytest.param(Sizes, "exp:100", Shape.EXP, (100,), 100, 1, 2773, id="exp of sizes, none below 1 B"),
    # 7.05 deviations to each side: one in 2**40
    pytest.param(Sizes, "normal:1000B,10B", Shape.NORMAL, (1000, 10), 1000, 930, 1070, id="normal"),
    # Half of it is left: its mean is sqrt(2 / pi) deviations.
    pytest.param(
        Durations, "normal:0,1ms", Shape.NORMAL, (0, MS), MS * math.sqrt(2 / math.pi), 0, 7_141_000, id="half a normal"
    ),
    pytest.param(
        Sizes, "list:1KiB:90,1MiB:10", Shape.LIST, (1024, 2**20), 105_779.2, 1024, 2**20, id="list"
    ),  # 1,024 x 0.9 + 1,048,576 x 0.1
    pytest.param(Durations, "list:1s:1", Shape.LIST, (10**9,), 10**9, 10**9, 10**9, id="list of one"),
    pytest.param(Sizes, " exp:1k ", Shape.EXP, (1000,), 1000, 1, 27_726, id="blanks around"),
]

_REFUSED = [
    pytest.param(Durations, "5", "expected a duration such as 5ms, or uniform:", id="no unit"),
    pytest.param(Durations, "poisson:5ms", "expected a duration such as 5ms, or uniform:", id="unknown shape"),
    pytest.param(Sizes, "0", "0 B is below the minimum of 1 B", id="no bytes"),
    pytest.param(Sizes, None, "expected a size such as 64B or 4KiB, or uniform:", id="nothing"),
    pytest.param(Sizes, True, "expected a size such as 64B or 4KiB, or uniform:", id="a truth value"),
    pytest.param(Durations, "uniform:5ms", "uniform:A-B: expected two values with - between them", id="uniform of one"),
    pytest.param(Durations, "uniform:9ms-1ms", "uniform:A-B: A is above B", id="uniform backwards"),
    pytest.param(Durations, "uniform:1ms-9", "uniform:A-B: B: expected a duration with its unit", id="B has no unit"),
    pytest.param(Sizes, "uniform:0-64B", "uniform:A-B: A: 0 B is below the minimum of 1 B", id="A of no bytes"),
    pytest.param(Durations, "normal:5ms", "normal:MEAN,SD: expected two values with a comma", id="no deviation"),
    pytest.param(Durations, "normal:5ms,0", "normal:MEAN,SD: SD: 0 s is below the minimum of 1 ns", id="deviation 0"),
    pytest.param(Durations, "normal:-5ms,1ms", "normal:MEAN,SD: MEAN: expected a duration", id="mean below 0"),
    pytest.param(Durations, "exp:", "exp:MEAN: MEAN: expected a duration with its unit", id="exp of nothing"),
    pytest.param(Durations, "exp:0", "exp:MEAN: MEAN: 0 s is below the minimum of 1 ns", id="exp of 0"),
    pytest.param(Sizes, "list:", "list:V:W,V:W: entry 1: expected a value and its weight", id="empty list"),
    pytest.param(Sizes, "list:1k:1,2k", "list:V:W,V:W: entry 2: expected a value and its weight", id="no weight"),
    pytest.param(Sizes, "list:1k:1,2x:1", "list:V:W,V:W: entry 2: expected a size", id="no size"),
    pytest.param(Sizes, "list:1k:0", "list:V:W,V:W: entry 1: expected a weight above 0", id="weight 0"),
    pytest.param(Sizes, "list:1k:inf", "list:V:W,V:W: entry 1: expected a weight above 0", id="infinite weight"),
    pytest.param(Sizes, "list:1k:1:1", "list:V:W,V:W: entry 1: expected a weight above 0", id="a colon too many"),
]

_SHAPES = [
    Durations.parse("3ms"),
    Sizes.parse("uniform:1B-3B"),
    Durations.parse("uniform:0-1s"),
    Durations.parse("normal:5ms,1ms"),
    Durations.parse("normal:1ms,5ms"),
    Durations.parse("exp:1s"),
    Sizes.parse("exp:20B"),
    Sizes.parse("list:1B:1,1GiB:10"),
    Sizes.parse("list:1KiB:90,1MiB:10"),
]


@pytest.mark.parametrize(("kind", "text", "shape", "values", "mean", "least", "most"), _READ)
def test_a_distribution_is_read(
    kind: type[Distribution],
    text: object,
    shape: Shape,
    values: tuple[int, ...],
    mean: float,
    least: int,
    most: int,
) -> None:
    read = kind.parse(text)
    assert (read.shape, read.values) == (shape, values)
    assert read.mean == pytest.approx(mean)
    assert (read.least, read.most) == (least, pytest.approx(most, rel=1e-3))


@pytest.mark.parametrize(("kind", "text", "said"), _REFUSED)
def test_what_is_no_distribution_is_refused_with_the_place(kind: type[Distribution], text: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}.*$"):
        kind.parse(text)


@pytest.mark.parametrize("distribution", _SHAPES, ids=str)
def test_its_text_is_read_as_the_same_distribution(distribution: Distribution) -> None:
    again = type(distribution).parse(str(distribution))
    assert again == distribution
    assert hash(again) == hash(distribution)
    assert type(distribution).parse(distribution) is distribution


def test_a_size_is_no_duration() -> None:
    assert Durations(Shape.CONSTANT, (5,)) != Sizes(Shape.CONSTANT, (5,))


@pytest.mark.parametrize("distribution", _SHAPES, ids=str)
def test_what_is_drawn_is_spread_as_it_says(distribution: Distribution) -> None:
    drawn = distribution.drawn(seed=1, count=20_000)
    assert drawn == distribution.drawn(seed=1, count=20_000)
    assert drawn[:100] == distribution.drawn(seed=1, count=100)
    assert distribution.least <= min(drawn)
    assert max(drawn) <= distribution.most
    # Five standard errors of the mean; a share of a byte is rounded away.
    error = 5 * statistics.pstdev(drawn) / math.sqrt(len(drawn))
    assert statistics.fmean(drawn) == pytest.approx(distribution.mean, abs=error + 0.1)


@pytest.mark.parametrize("distribution", _SHAPES, ids=str)
def test_another_seed_draws_other_values(distribution: Distribution) -> None:
    assert (distribution.drawn(1, 1000) == distribution.drawn(2, 1000)) is (distribution.least == distribution.most)


def test_a_rare_value_of_a_list_is_drawn_as_often_as_its_weight_says() -> None:
    distribution = Durations.parse("list:1ms:9999,10s:1")
    drawing = Drawing(distribution)
    # Just below and just above the share of the first value.
    assert [drawing.at(share) for share in (0.0, 0.9998999, 0.9999001, 1 - 2**-53)] == [MS, MS, 10**10, 10**10]


def test_each_whole_value_of_a_uniform_distribution_has_the_same_share() -> None:
    drawing = Drawing(Sizes.parse("uniform:1B-4B"))
    shares = [k / 4000 for k in range(4000)]
    values = [drawing.at(share) for share in shares]
    assert [values.count(value) for value in (1, 2, 3, 4)] == pytest.approx([1000] * 4, abs=1)


@given(share=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["exp:1s", "normal:1s,100ms", "normal:1s,1s"]))
def test_lines_between_the_points_stay_close_to_the_curve(share: float, kind: str) -> None:
    distribution = Durations.parse(kind)
    if not 2**-40 < share < 1 - 2**-40:
        return
    scale = distribution.values[-1]
    assert Drawing(distribution).at(share) == pytest.approx(distribution.quantile(share), abs=0.0005 * scale + 1)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2), st.sampled_from(_SHAPES))
def test_a_larger_share_never_has_a_smaller_value(shares: list[float], distribution: Distribution) -> None:
    drawing = Drawing(distribution)
    low, high = sorted(shares)
    assert distribution.least <= drawing.at(low) <= drawing.at(high) <= distribution.most


def test_a_value_of_a_seed_follows_from_its_number_alone() -> None:
    distribution = Durations.parse("exp:1ms")
    assert distribution.drawn(9, 50)[49] == Drawing(distribution).at(share_at(9, 49))


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        # E(x^2) / E(x): of values that follow one another, the one that is under way
        pytest.param("3ms", 3 * MS, id="constant"),
        pytest.param("0", 0, id="no time at all"),
        pytest.param("uniform:0-6ms", 4 * MS, id="uniform"),  # 12 / 3
        pytest.param("exp:3ms", 6 * MS, id="exp"),  # 2 x 9 / 3
        pytest.param("normal:30ms,3ms", 30.3 * MS, id="normal"),  # (900 + 9) / 30
        pytest.param("list:1ms:9,91ms:1", 82.9 * MS, id="list"),  # (9 x 1 + 8,281) / 10 / 10
    ],
)
def test_the_value_that_is_under_way_is_a_long_one(text: str, mean: float) -> None:
    drawing = Drawing(Durations.parse(text))
    drawn = [drawing.under_way(share_at(3, number)) for number in range(20_000)]
    error = 5 * statistics.pstdev(drawn) / math.sqrt(len(drawn))
    assert statistics.fmean(drawn) == pytest.approx(mean, abs=error + 1)
    assert drawing.least <= min(drawn)
    assert max(drawn) <= drawing.most
