"""The reports that the pages show have the words of reports today; their figures are those of the run that is shown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadkit.doctor.as_text import as_text
from loadkit.doctor.check import examine
from loadkit.plan.target import Target
from tests.pages import PAGES, ROOT, blocks, chapter, page
from tests.unit.examined import demanded

# What is measured beside reports, and written into a page by hand: these say how in the sentence above them.
_TABLES = ("replies/s   serve end",)
_LEAST_WORDS = 3


def _clauses(text: str) -> Iterator[str]:
    """Yields the pieces of text that have no figure and no sign in them, of at least three words.

    A line that is indented by more than two blanks goes on with the one before it, and two blanks part cells.
    """
    for row in re.split(r"\n(?= {0,2}\S)", text):
        line = re.sub(r"\n +", " ", row.strip())
        for piece in re.split(r"[^A-Za-z' -]|  +| -+ ", line):
            if len(piece.split()) >= _LEAST_WORDS:
                yield piece.strip()


def _is_said(clause: str, known: str) -> bool:
    """Whether reports have the clause; at either end two words may be filled in, such as a unit or a name."""
    words = clause.split()
    parts = (words[first : len(words) - last] for first in range(3) for last in range(3))
    return any(" ".join(part) in known for part in parts if len(part) >= _LEAST_WORDS - 1)


def _literals(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _known() -> str:
    """Returns what reports are made of: the texts of the code, and the reports of made-up runs."""
    sources = [*(ROOT / "loadkit").rglob("*.py")]
    golden = [path.read_text() for path in (ROOT / "tests/golden").glob("*.txt")]
    return re.sub(r"\s+", " ", " | ".join([*(text for path in sources for text in _literals(path)), *golden]))


_SHOWN = [
    pytest.param(name, block.text, id=f"{name}-{number}")
    for name in PAGES
    if name not in ("CHANGELOG", "performance")
    for number, block in enumerate(blocks(page(name)))
    if block.language in ("text", "console") and not block.text.lstrip().startswith(_TABLES)
]


@pytest.fixture(scope="module")
def known() -> str:
    return _known()


@pytest.mark.parametrize(("name", "text"), _SHOWN)
def test_what_a_page_shows_is_said_in_today_s_words(name: str, text: str, known: str) -> None:
    # Without commands, and without what a target said.
    said = re.sub(r"^(\w*\$|  loadkit) .*\n|`[^`\n]*`", "", text, flags=re.MULTILINE)
    assert [clause for clause in _clauses(said) if not _is_said(clause, known)] == []


def test_a_word_of_yesterday_is_seen(known: str) -> None:
    [clause] = _clauses("92%: it is the generator that does not keep up (2.0)")
    assert not _is_said(clause, known)
    [clause] = _clauses("92%: the generator does not keep up")
    assert _is_said(clause, known)


def test_the_findings_of_the_page_are_those_of_such_a_machine() -> None:
    # Two cores, a hard limit of 20,000 files and the kernel's own range of ports: what the made-up host has.
    [shown] = [block.text for block in blocks(chapter("scale", "The doctor")) if block.language == "console"]
    target, may_fix = Target("10.0.0.5", ("10.0.0.5",), 7000), 1 << 12 | 1 << 24
    demand = demanded(40_000, target, nofile_soft=20_000, capabilities=may_fix)
    printed = as_text(demand, examine(demand))
    command, _, text = shown.removesuffix("…\n").partition("\n")
    assert command == "$ loadkit doctor -c 40k 10.0.0.5:7000"
    assert text.rstrip() in printed
