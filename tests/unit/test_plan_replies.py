"""Which options fit together that say what replies are like."""

from __future__ import annotations

from typing import Any

import pytest

from loadkit.errors import OptionError
from loadkit.plan.load import build_load
from loadkit.profile.read import load_profile
from loadkit.wire.check import Judging, JudgingKind
from loadkit.wire.echo import Echo


def _load(**options: Any) -> Any:
    return build_load(load_profile(None, options)[0])


def test_an_echo_is_compared_and_any_other_reply_is_not_unless_it_is_asked_for() -> None:
    assert _load().rule == Echo(check=True)
    assert _load(check=False).rule == Echo(check=False)
    assert _load(expect="line").wire.judging.kind is JudgingKind.NONE
    assert _load(expect="line", check="starts:OK").wire.judging == Judging(JudgingKind.STARTS, b"OK")


def test_a_connection_that_the_target_ends_has_one_exchange() -> None:
    assert _load(expect="close").lifetime_ns == 0
    assert _load(expect="line").lifetime_ns is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"check": "same"}, "--check same: the reply of an echo is the message"),
        ({"check": "exact", "expect": "line"}, "--check exact: only the reply of an echo is known"),
        ({"depth": "2", "expect": "close"}, "--depth 2: with --expect close"),
        ({"depth": "2", "expect": "idle:5ms"}, "--depth 2: with --expect idle:5ms"),
        ({"lifetime": "1s", "expect": "close"}, "--lifetime: with --expect close"),
        ({"think": "1ms", "expect": "close"}, "--think: with --expect close"),
        ({"rate": "10", "expect": "close"}, "--rate: with --expect close"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(options: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        _load(**options)
    assert str(caught.value).startswith(said)
