"""What a run has its crew do, with a crew that the test makes up in place of processes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from loadkit.plan.build import Plan, build_plan
from loadkit.profile.read import load_profile
from loadkit.run.blast import _drive
from loadkit.run.course import Course, Stage
from loadkit.run.crew import Crew, Look, Word, Words
from loadkit.run.signals import Interrupts
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

# A run that is over within a tenth of a second: two workers, ten connections.
_OPTIONS = {"connections": "10", "connect_rate": "max", "workers": "2", "warmup": "0s", "duration": "5ms"}


class _Crew:
    """Says that all went well as soon as it was told to begin; its workers end once the hold is over."""

    def __init__(self) -> None:
        self.heard: list[Words | str] = []
        self.looks = 0
        self._end_ns = 0

    def say(self, word: Word) -> None:
        self.heard.append(word.said)
        if word.said is Words.HOLD and word.at_ns is not None:
            self._end_ns = word.at_ns + 5_000_000

    def look(self, now: int) -> Look:
        self.looks += 1
        is_over = bool({Words.STOP, Words.LEAVE} & {*self.heard}) or 0 < self._end_ns <= now
        return Look(
            proof="right", asked=10, settled=10, settled_ns=now, running=0 if is_over else 2, finished_ns=is_over * now
        )

    def wakers(self) -> Sequence[Any]:
        return ()

    def leave(self) -> int:
        self.heard.append("leave")
        return time.monotonic_ns()


class _Signals:
    """Has `count` signals come, and waits for nothing."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.waits: list[float] = []

    def wait(self, _wakers: Sequence[Any], seconds: float) -> None:
        self.waits.append(seconds)
        time.sleep(min(seconds, 0.001))


def _driven(crew: _Crew, signals: _Signals, show: Callable[[int], None] | None = None) -> Course:
    plan: Plan = build_plan(*load_profile(None, _OPTIONS), made_up_host(), None, ENGINE)
    course = Course(plan, time.monotonic_ns())
    _drive(cast(Crew, crew), course, cast(Interrupts, signals), show)
    return course


def test_a_crew_hears_each_word_once_and_in_order_and_leaves_once() -> None:
    crew, shown = _Crew(), list[int]()
    course = _driven(crew, _Signals(), shown.append)
    assert [word for word in crew.heard if word != "leave"] == [
        Words.FIRST,
        Words.RAMP,
        Words.OPENED,
        Words.HOLD,
        Words.BEGIN,
        Words.END,
    ]
    assert crew.heard.count("leave") == 1
    assert course.stage is Stage.HOLD
    assert course.is_over
    # It is shown how far the run is no more than ten times a second, however often the crew is sampled.
    assert 1 <= len(shown) < crew.looks
    assert all(later - one >= 100_000_000 for one, later in itertools.pairwise(shown))


def test_a_signal_before_the_ramp_has_the_crew_leave() -> None:
    crew = _Crew()
    _driven(crew, _Signals(1))
    assert crew.heard == [Words.FIRST, Words.LEAVE, "leave"]


def test_it_waits_no_longer_than_the_course_wants() -> None:
    signals = _Signals()
    _driven(_Crew(), signals)
    assert all(0 <= seconds <= 0.1 for seconds in signals.waits)


def test_a_crew_that_cannot_be_looked_at_leaves_all_the_same() -> None:
    class Broken(_Crew):
        def look(self, now: int) -> Look:
            if "leave" not in self.heard:
                raise OSError("no board")
            return super().look(now)

    crew = Broken()
    with pytest.raises(OSError, match="no board"):
        _driven(crew, _Signals())
    assert crew.heard == [Words.FIRST, "leave"]
