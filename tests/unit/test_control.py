"""What a worker hears of its parent, over a real pipe."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe

import pytest

from loadkit.run.control import PipeControl

Ends = tuple[Connection, PipeControl]


@pytest.fixture
def ends() -> Iterator[Ends]:
    parent, worker = Pipe()
    with parent, worker:
        yield parent, PipeControl(worker)


def answers(control: PipeControl) -> tuple[bool, bool, bool, int | None]:
    return control.should_leave(), control.should_stop(), control.should_stop_opening(), control.hold_start()


def test_the_ramp_s_start_is_heard_apart_from_the_worker_s(ends: Ends) -> None:
    parent, control = ends
    parent.send(("start", 3))
    assert control.wait_start() == 3
    assert control.ramp_start() is None
    parent.send(("ramp", 9))
    assert control.ramp_start() is None
    control.hear()
    assert (control.ramp_start(), control.hold_start()) == (9, None)


def test_what_came_on_the_first_connection_is_told_even_to_a_parent_that_is_gone(ends: Ends) -> None:
    parent, control = ends
    control.came(b"-ERR")
    assert parent.recv() == ("came", b"-ERR")
    parent.close()
    control.came(b"-ERR")


def test_the_end_of_the_traffic_is_told_even_to_a_parent_that_is_gone(ends: Ends) -> None:
    parent, control = ends
    control.finished()
    assert parent.recv() == ("finished",)
    parent.close()
    control.finished()


def test_answers_are_as_of_the_last_hearing_and_nothing_in_between_is_lost(ends: Ends) -> None:
    parent, control = ends
    control.hear()
    parent.send(("hold", 5))
    parent.send(("leave",))
    # Between two answers: whoever read on here would miss the one that he has asked for already.
    assert answers(control) == (False, False, False, None)
    control.hear()
    assert answers(control) == (True, False, False, 5)


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        (("hold", 7), (False, False, False, 7)),
        (("enough",), (False, False, True, None)),
        (("stop",), (False, True, False, None)),
        (("leave",), (True, False, False, None)),
    ],
)
def test_each_word_is_heard(ends: Ends, words: tuple[object, ...], heard: object) -> None:
    parent, control = ends
    parent.send(words)
    control.hear()
    assert answers(control) == heard


def test_a_parent_that_is_gone_says_leave(ends: Ends) -> None:
    parent, control = ends
    parent.close()
    control.hear()
    assert control.should_leave()


def test_the_start_is_waited_for_and_what_came_with_it_is_kept(ends: Ends) -> None:
    parent, control = ends
    parent.send(("start", 123))
    parent.send(("enough",))
    assert control.wait_start() == 123
    control.hear()
    assert control.should_stop_opening()


@pytest.mark.parametrize("word", ["leave", "stop"])
def test_told_to_end_before_the_start_it_does_not_begin(word: str, ends: Ends) -> None:
    parent, control = ends
    parent.send((word,))
    with pytest.raises(EOFError, match="before the start"):
        control.wait_start()
