"""Where each value of a plan came from, by the options that stand on its field."""

from __future__ import annotations

from asyncio import Protocol
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from loadkit.library.prepare import prepare_serve
from loadkit.plan.load import Load
from loadkit.plan.origins import DERIVED, asked_by, options_behind, origins_of, worked_out
from loadkit.plan.placement import Placement
from loadkit.plan.serve import ServePlan
from loadkit.profile.blast import Profile
from loadkit.profile.option import options_of
from loadkit.profile.serve import ServeProfile


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


def test_each_option_of_a_serve_end_is_behind_a_value_of_its_plan() -> None:
    behind = {option for options in options_behind(ServePlan).values() for option in options}
    assert behind - {"listen"} == set(options_of(ServeProfile)) - {"metrics", "metrics_linger"}


def test_a_serve_end_says_where_each_of_its_values_came_from(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("backlog = 7\ntos = 8\n")
    given = {"listen": "default", "grace": "environment LOADKIT_SERVE_GRACE"}
    found = prepare_serve("127.0.0.1:0", {"workers": "1", "grace": "1s"}, str(file), given).plan.origins
    assert [found[name] for name in ("addresses", "port", "workers", "backlog", "grace_ns", "sockets")] == [
        "default",
        "default",
        "option",
        "profile",
        "environment LOADKIT_SERVE_GRACE",
        "profile",
    ]
    assert [found[name] for name in ("cores", "engine", "is_apart", "stamps", "app")] == ["derived"] * 3 + [
        "default"
    ] * 2
    assert found.keys() == {name for name in ServePlan.__struct_fields__ if not name.endswith("origins")}
    assert prepare_serve("127.0.0.1:0", {"app": Protocol}).plan.origins["app"] == "option"
