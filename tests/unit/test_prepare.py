"""A run at the first address of its target that a connection can be opened to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from loadkit.errors import TargetError, UnreachableError
from loadkit.library.prepare import PreparedBlast, run_at_first_reachable
from loadkit.plan.build import Plan
from loadkit.plan.target import Target
from tests.golden.made_up import made_up_plan


class Prepared:
    """What was prepared for the first of these addresses."""

    def __init__(self, *addresses: str) -> None:
        address, *self._others = addresses
        self.plan = made_up_plan(target=Target("name", (address,), 7000))
        self.is_checked = False

    def find_next(self) -> Prepared | None:
        return Prepared(*self._others) if self._others else None

    def check_machine(self) -> None:
        self.is_checked = True


def run(*addresses: str, outcome: Callable[[str], str]) -> tuple[Prepared, str, list[str]]:
    """Returns what was run at last, how it ended, and what was said."""
    said: list[str] = []
    prepared, result = run_at_first_reachable(
        cast("PreparedBlast", Prepared(*addresses)), lambda plan: outcome(_address(plan)), said.append
    )
    return cast("Any", prepared), result, said


def _address(plan: Plan) -> str:
    return plan.target.addresses[0]


def refuse_but(alive: str) -> Callable[[str], str]:
    def outcome(address: str) -> str:
        if address != alive:
            raise UnreachableError("name:7000", f"no way to {address}", "start the server")
        return f"ran at {address}"

    return outcome


def test_the_first_address_that_answers_is_used_and_those_before_it_are_said() -> None:
    prepared, result, said = run("::1", "192.0.2.1", "192.0.2.2", "192.0.2.3", outcome=refuse_but("192.0.2.2"))
    assert result == "ran at 192.0.2.2"
    assert _address(prepared.plan) == "192.0.2.2"
    assert prepared.is_checked
    assert said == [
        "name:7000: ::1: no way to ::1; going on to 192.0.2.1",
        "name:7000: 192.0.2.1: no way to 192.0.2.1; going on to 192.0.2.2",
    ]


def test_an_only_address_fails_in_its_own_words() -> None:
    with pytest.raises(UnreachableError, match=r"^name:7000: no way to ::1; start the server$"):
        run("::1", outcome=refuse_but("none"))


def test_if_none_answers_all_are_named() -> None:
    with pytest.raises(UnreachableError) as failed:
        run("::1", "192.0.2.1", outcome=refuse_but("none"))
    assert str(failed.value) == "name:7000: ::1: no way to ::1; 192.0.2.1: no way to 192.0.2.1; start the server"


def test_a_server_that_does_not_echo_is_not_passed_over() -> None:
    def replies(address: str) -> str:
        raise TargetError(f"name:7000 at {address} sent back other bytes")

    with pytest.raises(TargetError, match=r"^name:7000 at ::1 sent back other bytes$"):
        run("::1", "192.0.2.1", outcome=replies)
