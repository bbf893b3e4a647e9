"""The arguments of `@pytest.mark.loadkit`: each of them is read by a blast, or refused."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from loadkit.pytest_plugin.outcome import check_policy

__all__ = ["find_unread", "read_marks"]

_MARK = "@pytest.mark.loadkit"


_READ = pytest.StashKey[bool]()


def read_marks(item: pytest.Item) -> dict[str, Any]:
    """Returns the options for the blasts of a test, those of its own marker before its class's and its module's.

    Fails the test in its setup for an argument that no blast would read.
    """
    options: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("loadkit"))):
        _check_arguments(mark)
        options |= mark.kwargs
    item.stash[_READ] = True
    return options


def find_unread(item: pytest.Item) -> str | None:
    """Returns what is wrong with a test that has run, if nothing has read its own marker.

    A marker of a class or of a module may be for other tests there.
    """
    marks = [mark for mark in item.own_markers if mark.name == "loadkit" and (mark.args or mark.kwargs)]
    if not marks or item.stash.get(_READ, False):
        return None
    unread = ", ".join(
        text
        for mark in marks
        for text in (*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items()))
    )
    return f"{_MARK}({unread}): nothing has read it, for this test has no `blast` fixture"


def _check_arguments(mark: pytest.Mark) -> None:
    """Fails the test if the marker has an argument that no blast would read."""
    from loadkit.library.keywords import BlastOptions

    known = (*BlastOptions.__annotations__, "profile", "invalid")
    told = f"{_MARK} takes options of blast() by their names, and nothing reads"
    if mark.args:
        pytest.fail(f"{told} {', '.join(map(repr, mark.args))}", pytrace=False)
    for name in mark.kwargs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            pytest.fail(f"{told} {name!r}; {hint}", pytrace=False)
    if "invalid" in mark.kwargs:
        try:
            check_policy(mark.kwargs["invalid"])
        except pytest.UsageError as error:
            pytest.fail(str(error), pytrace=False)
