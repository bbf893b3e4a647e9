from __future__ import annotations

from typing import Any

import pytest

from loadkit.doctor.demand import demand_of_blast, demand_of_plan, demand_of_serve, demand_of_serve_plan
from loadkit.errors import OptionError
from loadkit.plan.build import build_plan
from loadkit.plan.serve import build_serve_plan
from loadkit.plan.target import Target
from loadkit.profile.blast import Close, PhaseSpec, Profile
from loadkit.profile.serve import ServeProfile
from loadkit.sockets import Sockets
from loadkit.units import Count, Duration
from tests.golden.made_up import ENGINE
from tests.unit.examined import LOCAL, REMOTE
from tests.unit.made_up import made_up_host

_NO_SOCKETS = Sockets({}, {}, frozenset(), frozenset())


def _plan(target: Target | None = None, **asked: Any) -> Any:
    return build_plan(Profile(**asked), {}, made_up_host(), target, ENGINE)


@pytest.mark.parametrize("target", [None, LOCAL, REMOTE])
def test_what_the_doctor_asks_is_what_the_plan_asks(target: Target | None) -> None:
    profile = Profile(connections=Count(20_000))
    host = made_up_host()
    asked = demand_of_blast(host, 20_000, target, ENGINE, _NO_SOCKETS)
    planned = demand_of_plan(host, build_plan(profile, {}, host, target, ENGINE), _NO_SOCKETS)
    assert (asked.connections, asked.blast_workers, asked.serve_workers, asked.routes) == (
        20_000,
        planned.blast_workers,
        planned.serve_workers,
        planned.routes,
    )
    assert (asked.engine, asked.target, asked.sockets) == (planned.engine, planned.target, planned.sockets)
    assert not asked.refused


@pytest.mark.parametrize(
    ("target", "ends", "embedded", "serves_alone"),
    [
        pytest.param(None, 2, True, False, id="embedded"),
        pytest.param(LOCAL, 2, False, False, id="on loopback"),
        pytest.param(REMOTE, 1, False, False, id="elsewhere"),
    ],
)
def test_ends_that_are_here_are_counted(target: Target | None, ends: int, embedded: bool, serves_alone: bool) -> None:
    demand = demand_of_blast(made_up_host(), 1000, target, ENGINE)
    assert (demand.ends, demand.embedded, demand.serves_alone) == (ends, embedded, serves_alone)


def test_a_phase_with_more_connections_is_what_counts() -> None:
    more = PhaseSpec(name="more", duration=Duration.parse("1s"), connections=Count(5000))
    assert demand_of_plan(made_up_host(), _plan(connections=Count(10), phases=(more,))).connections == 5000


def test_what_the_plan_refuses_has_its_words_and_the_numbers_of_a_machine_with_room() -> None:
    host = made_up_host(nofile_hard=150)
    demand = demand_of_blast(host, 100_000, REMOTE, ENGINE, source=("10.1.0.0/31",))
    # Two addresses x 28,232; that there are too few files is for the finding on them to say.
    assert demand.refused.startswith("100,000 connections need more ports than there are: 2 source address(es)")
    assert demand.networks == ("10.1.0.0/31",)
    assert demand.connections == 100_000
    assert demand.host is host
    assert demand.blast_workers > 0


def test_an_option_that_is_wrong_is_no_matter_of_the_machine() -> None:
    with pytest.raises(OptionError, match="--source: expected a network"):
        demand_of_blast(made_up_host(), 1000, REMOTE, ENGINE, source=("nowhere",))


@pytest.mark.parametrize(
    ("close", "lifetime", "churn_hz"),
    [
        pytest.param(Close.FIN, "5s", 200.0, id="1,000 connections of 5 s each"),
        pytest.param(Close.FIN, "0", None, id="one exchange: nobody knows"),
        pytest.param(Close.FIN, None, None, id="no churn"),
        pytest.param(Close.RST, "5s", None, id="resets leave no TIME_WAIT"),
    ],
)
def test_churn_is_what_the_plan_closes_by_fin(close: Close, lifetime: str | None, churn_hz: float | None) -> None:
    asked = Duration.parse(lifetime) if lifetime else None
    demand = demand_of_plan(made_up_host(), _plan(connections=Count(1000), close=close, lifetime=asked))
    assert demand.churn_hz == churn_hz


def test_a_run_leaves_no_more_time_waits_than_it_has_seconds() -> None:
    plan = _plan(connections=Count(1000), duration=Duration.parse("3s"), warmup=Duration.parse("1s"))
    # ramp 1,000 / 10,000/s, warm-up 1 s, hold 3 s; nothing opens in the drain
    assert demand_of_plan(made_up_host(), plan).churn_s == pytest.approx(4.1)
    assert demand_of_plan(made_up_host(), _plan(duration=Duration.parse("1h"))).churn_s == 60


def test_a_serve_end_is_asked_for_what_it_was_told_or_for_whatever_comes() -> None:
    host = made_up_host()
    assert demand_of_serve(host, 5000, ENGINE).connections == 5000
    plan = build_serve_plan(host, ("127.0.0.1",), 7000, ServeProfile(max_connections=Count(300)), engine=ENGINE)
    assert demand_of_serve_plan(host, plan).connections == 300
    assert demand_of_serve_plan(host, build_serve_plan(host, ("127.0.0.1",), 7000, engine=ENGINE)).connections == 0


def test_a_serve_end_that_can_hold_none_is_examined_all_the_same() -> None:
    demand = demand_of_serve(made_up_host(nofile_hard=36), 1000, ENGINE)
    assert (demand.connections, demand.serve_workers, demand.serves_alone, demand.ends) == (1000, 2, True, 1)


def test_connections_end_and_open_in_all_phases_but_the_drain() -> None:
    plan = _plan(
        connections=Count(1000),
        duration=Duration.parse("3s"),
        warmup=Duration.parse("0s"),
        close=Close.FIN,
        lifetime=Duration.parse("1s"),
    )
    # ramp 0.1 s, hold 3 s
    assert demand_of_plan(made_up_host(), plan).churn_s == pytest.approx(3.1)


@pytest.mark.parametrize(
    ("options", "free_hz", "most", "counted"),
    [
        pytest.param({"lifetime": Duration(0), "close": Close.FIN}, 20_000, None, False, id="as fast as it goes"),
        pytest.param(
            {"lifetime": Duration(0), "close": Close.FIN, "messages": Count(50)}, 20_000, 1050, True, id="so many"
        ),
        pytest.param({"lifetime": Duration(0)}, None, None, False, id="reset: none is kept"),
        pytest.param({"close": Close.FIN}, None, None, False, id="none closes"),
    ],
)
def test_how_fast_connections_of_one_exchange_end_is_not_known(
    options: dict[str, Any], free_hz: float | None, most: int | None, counted: bool
) -> None:
    demand = demand_of_plan(made_up_host(), _plan(LOCAL, workers=Count(1), **options))
    assert (demand.free_churn_hz, demand.churn_most, demand.is_counted) == (free_hz, most, counted)
    assert demand.churn_hz is None
