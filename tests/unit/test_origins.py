"""Where each value of a plan came from, by the options that stand on its field."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from loadkit.plan.load import Load
from loadkit.plan.origins import DERIVED, asked_by, options_behind, origins_of, worked_out
from loadkit.plan.placement import Placement
from loadkit.profile.blast import Profile
from loadkit.profile.option import options_of


class _Plan(msgspec.Struct):
    depth: Annotated[int, asked_by("depth")]
    workers: Annotated[int, asked_by("workers", otherwise=DERIVED)]
    phases: Annotated[int, asked_by("rate", "duration")]
    lanes: Annotated[int, worked_out()]


@pytest.mark.parametrize(
    ("sources", "origins"),
    [
        pytest.param({}, ("default", "derived", "default", "derived"), id="nothing was asked for"),
        pytest.param({"depth": "option"}, ("option", "derived", "default", "derived"), id="an option"),
        pytest.param({"workers": "profile"}, ("default", "profile", "default", "derived"), id="what is derived else"),
        pytest.param(
            {"rate": "environment LOADKIT_BLAST_RATE"},
            ("default", "derived", "environment LOADKIT_BLAST_RATE", "derived"),
            id="one of two options",
        ),
        pytest.param(
            {"rate": "environment LOADKIT_BLAST_RATE", "duration": "option"},
            ("default", "derived", "option", "derived"),
            id="both: the stronger",
        ),
    ],
)
def test_a_value_comes_from_the_strongest_of_its_options(sources: dict[str, str], origins: tuple[str, ...]) -> None:
    assert tuple(origins_of(_Plan, sources).values()) == origins


def test_a_field_that_does_not_say_where_it_comes_from_is_refused() -> None:
    class Unmarked(msgspec.Struct):
        depth: int

    with pytest.raises(TypeError, match=r"^Unmarked\.depth does not say which options are behind it$"):
        options_behind(Unmarked)


def test_each_option_is_behind_a_value_of_the_plan() -> None:
    behind = {
        option for struct in (Load, Placement) for options in options_behind(struct).values() for option in options
    }
    # `phases` is a key of profiles alone, and these options are no part of a plan.
    beside = {"slo", "abort_on", "tag", "metrics", "metrics_linger"}
    assert behind - {"phases"} == set(options_of(Profile)) - beside
