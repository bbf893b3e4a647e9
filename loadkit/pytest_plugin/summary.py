"""What each blast came to: noted among a test's user properties, and listed at the end of the session.

User properties reach the summary through pytest-xdist, and stand in JUnit reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

__all__ = ["ABORTED", "MISSED", "RECORD", "RUN", "forget", "note", "summary_lines"]

# Name of a user property -> what stands before its value in the summary.
RUN, MISSED, ABORTED, RECORD = "loadkit", "loadkit missed", "loadkit aborted", "loadkit record"
_WORDS = {RUN: "", MISSED: "SLO missed: ", ABORTED: "aborted: ", RECORD: "record: "}


def note(item: pytest.Item, name: str, text: str) -> None:
    """Notes something of a blast of the test."""
    from loadkit.printable import printable

    item.user_properties.append((name, printable(text)))


def forget(item: pytest.Item) -> None:
    """Forgets what was noted when the test ran before (pytest-rerunfailures): the report of that run has it."""
    item.user_properties[:] = [one for one in item.user_properties if one[0] not in _WORDS]


def summary_lines(test: str, properties: Sequence[tuple[str, object]]) -> Iterator[str]:
    """Yields the test's name and what was noted of it; nothing for a test without a blast."""
    found = [(name, str(value)) for name, value in properties if name in _WORDS]
    if not found:
        return
    from loadkit.printable import printable

    yield printable(test)
    for name, value in found:
        yield f"  {_WORDS[name]}{printable(value)}"
