"""What the compiled core makes of a seed is what Python makes of it (arrivals.c, schedule.c, drawing.c)."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadkit.chance import share_at
from loadkit.distribution import Drawing, Durations
from loadkit.plan.arrivals import arrival_times
from loadkit.plan.pacing import LinearPace

from .by_hand import _core

_S = 10**9

_PACES = st.builds(
    LinearPace,
    begin_ns=st.integers(0, 10**15),
    duration_ns=st.integers(10**6, 5 * _S),
    start_hz=st.one_of(st.just(0.0), st.floats(0.01, 500)),
    end_hz=st.one_of(st.just(0.0), st.floats(0.01, 500)),
).filter(lambda pace: max(pace.start_hz, pace.end_hz) > 0)
_WORKERS = st.integers(1, 200).flatmap(lambda of: st.tuples(st.integers(0, of - 1), st.just(of)))


@given(_PACES, st.integers(0, 2**64 - 1), _WORKERS, st.integers(0, 50), st.floats(-0.1, 1.1))
@example(LinearPace(0, 5 * _S, 500, 500), 7, (0, 1), 0, 1.1)
@example(LinearPace(0, 5 * _S, 500, 0), 7, (1, 2), 10, 0.5)
@example(LinearPace(0, 5 * _S, 0, 500), 7, (199, 200), 0, 0.9)
@example(LinearPace(0, 1_000_000, 1e-9, 1e-9), 7, (0, 1), 1, 1.0)  # a block takes longer than 64 bits of ns
def test_times_and_what_is_left_are_the_same_to_the_nanosecond(
    pace: LinearPace, seed: int, worker: tuple[int, int], most: int, part: float
) -> None:
    expected = list(arrival_times(pace, seed, *worker))
    change = (pace.end_hz - pace.start_hz) / (pace.duration_ns / _S)
    until = pace.begin_ns + pace.duration_ns - 1
    cut = pace.begin_ns + round(part * pace.duration_ns)
    times, left = _core.random_times(pace.begin_ns, until, pace.start_hz, change, seed, *worker, most, cut)
    assert times == expected[:most]
    assert left == sum(at <= cut for at in expected[most:])


_DISTRIBUTIONS = ["0", "5ms", "uniform:0-9ms", "normal:5ms,1ms", "normal:1ms,9ms", "exp:5ms", "list:1ms:9,1s:1,0:0.01"]


@pytest.mark.parametrize("text", _DISTRIBUTIONS)
def test_values_that_the_core_draws_are_the_same_to_the_bit(text: str) -> None:
    distribution = Durations.parse(text)
    drawing = Drawing(distribution)
    shares, lengths = (array("d", column).tobytes() for column in zip(*drawing.points, strict=True))
    for seed in (0, 7, 2**64 - 1):
        pauses = (shares, lengths, drawing.least, drawing.most, seed)
        assert _core.draw_values(pauses, 0, 1000, False) == distribution.drawn(seed, 1000)
        under_way = [drawing.under_way(share_at(seed, number)) for number in range(1000)]
        assert _core.draw_values(pauses, 0, 1000, True) == under_way


@pytest.mark.parametrize(
    "points", [(b"", b""), (bytes(8), bytes(8)), (bytes(16), bytes(24)), (bytes(17), bytes(17))], ids=str
)
def test_points_that_are_none_are_refused(points: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="two points or more"):
        _core.draw_values((*points, 0, 1, 7), 0, 1, False)


def test_a_process_of_a_billion_messages_is_counted_and_not_made() -> None:
    end = 1000 * _S
    _, left = _core.random_times(0, end - 1, 1e6, 0.0, 7, 3, 1000, 0, end)
    # Six deviations of the whole; of the part, these are its thousandth and that of a block.
    assert left == pytest.approx(1_000_000, abs=6 * (1e9**0.5) / 1000 + 1)
