"""What a plan works out of its phases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkit.plan.phases import PhaseKind, PhasePlan
from tests.golden.made_up import MS, S, made_up_plan

Rate = tuple[float, float] | None


def hold(duration_ns: int, rate_hz: Rate) -> PhasePlan:
    return PhasePlan("hold", PhaseKind.HOLD, duration_ns, 100, rate_hz)


def between(duration_ns: int, rate_hz: Rate) -> PhasePlan:
    """A phase that is not measured: its messages are none of --messages."""
    return PhasePlan("between", PhaseKind.WARMUP, duration_ns, 100, rate_hz)


def span(messages: int | None, *measured: PhasePlan, rate_hz: Rate = (100.0, 100.0)) -> int | None:
    """Of a plan with a ramp and a warm-up before these phases, and a drain of 10 s after them."""
    phases = (
        PhasePlan("ramp", PhaseKind.RAMP, S, 100),
        between(3 * S, rate_hz),
        *measured,
        PhasePlan("drain", PhaseKind.DRAIN, 10 * S, 100),
    )
    return made_up_plan(phases=phases, messages=messages).load.messages_span_ns


_FLAT = (100.0, 100.0)


@pytest.mark.parametrize(
    ("messages", "phases", "span_ns"),
    [
        pytest.param(None, [hold(10 * S, _FLAT)], None, id="without --messages"),
        pytest.param(1, [hold(10 * S, _FLAT)], 10 * MS, id="one at 100/s"),
        pytest.param(250, [hold(10 * S, _FLAT)], 2_500 * MS, id="n / rate: 250 at 100/s"),
        pytest.param(1_000, [hold(10 * S, _FLAT)], 10 * S, id="as many as the phase has"),
        pytest.param(1_001, [hold(10 * S, _FLAT)], 10 * S, id="more than it has: they end with it"),
        # 0 to 100 Hz in 10 s: N(t) = 5 t², 125 at t = 5 s
        pytest.param(125, [hold(10 * S, (0.0, 100.0))], 5 * S, id="up from nothing"),
        # 100 to 0 Hz in 10 s: N(t) = 100 t - 5 t², 375 at t = 5 s
        pytest.param(375, [hold(10 * S, (100.0, 0.0))], 5 * S, id="down to nothing"),
        pytest.param(500, [hold(10 * S, (100.0, 0.0))], 10 * S, id="all of those"),
        # 100 in the first second, 2 s whose 2,000 do not count, the other 50 at 200/s
        pytest.param(
            150, [hold(S, _FLAT), between(2 * S, (1_000.0, 1_000.0)), hold(S, (200.0, 200.0))], 3_250 * MS, id="two"
        ),
        pytest.param(
            100, [hold(S, _FLAT), between(2 * S, _FLAT), hold(S, _FLAT)], S, id="the first of two has them all"
        ),
        pytest.param(
            101, [hold(S, _FLAT), between(2 * S, _FLAT), hold(S, _FLAT)], 3_010 * MS, id="all but one of them"
        ),
        # 100, 100 and, of the third, 50
        pytest.param(250, [hold(S, _FLAT), hold(S, _FLAT), hold(S, _FLAT)], 2_500 * MS, id="three end to end"),
        pytest.param(150, [hold(S, _FLAT), hold(2 * S, (0.0, 0.0)), hold(S, _FLAT)], 3_500 * MS, id="a pause between"),
        pytest.param(50, [hold(2 * S, (0.0, 0.0)), hold(S, _FLAT)], 2_500 * MS, id="a pause at the beginning"),
        pytest.param(
            999, [hold(S, _FLAT), hold(S, _FLAT), between(5 * S, _FLAT)], 2 * S, id="more than both have: to the end"
        ),
        pytest.param(1, [hold(10 * S, None)], 0, id="closed loop"),
        pytest.param(10**9, [hold(10 * S, None), hold(S, None)], 0, id="closed loop, however many"),
    ],
)
def test_so_many_messages_take_so_long_at_the_rates_asked_for(
    messages: int | None, phases: list[PhasePlan], span_ns: int | None
) -> None:
    assert span(messages, *phases) == span_ns


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_at_a_flat_rate_it_is_their_number_divided_by_the_rate(messages: int, rate: int) -> None:
    found = span(messages, hold(100_000 * S, (float(rate), float(rate))))
    assert found == pytest.approx(messages * S / rate, abs=1)


_RATES = st.tuples(st.integers(0, 500), st.integers(0, 500))
_PHASES = st.lists(
    st.tuples(st.booleans(), st.integers(1, 4), _RATES).map(
        lambda one: (hold if one[0] else between)(one[1] * S, (float(one[2][0]), float(one[2][1])))
    ),
    min_size=1,
    max_size=5,
)


@given(_PHASES, st.integers(1, 3_000))
def test_one_message_more_never_takes_less_time_nor_longer_than_the_measured_phases(
    phases: list[PhasePlan], messages: int
) -> None:
    phases = [hold(S, (1.0, 1.0)), *phases]
    one, more = span(messages, *phases), span(messages + 1, *phases)
    assert one is not None
    assert more is not None
    last = max(at for at, phase in enumerate(phases) if phase.kind is PhaseKind.HOLD)
    assert 0 < one <= more <= sum(phase.duration_ns for phase in phases[: last + 1])
