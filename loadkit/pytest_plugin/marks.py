"""The arguments of `@pytest.mark.loadkit`: each of them is read by a blast, or refused."""

from __future__ import annotations

import difflib

import pytest

from loadkit.pytest_plugin.outcome import check_policy

__all__ = ["check_marks"]

_MARK = "@pytest.mark.loadkit"


def check_marks(item: pytest.Item) -> None:
    """Fails the test in its setup if a marker has an argument that no blast would read.

    A marker of a class or a module may be for the other tests there. One of the test itself is for its own blasts: it
    asks for the fixture, or for `request`, which can get it.
    """
    for mark in item.iter_markers("loadkit"):
        _check_arguments(mark)
    fixtures = getattr(item, "fixturenames", ("request",))
    for mark in item.own_markers:
        if mark.name == "loadkit" and mark.kwargs and not {"blast", "request"} & set(fixtures):
            unread = ", ".join(f"{name}={value!r}" for name, value in mark.kwargs.items())
            pytest.fail(f"{_MARK}({unread}): nothing reads it, for this test has no `blast` fixture", pytrace=False)


def _check_arguments(mark: pytest.Mark) -> None:
    if not mark.args and not mark.kwargs:
        return
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
