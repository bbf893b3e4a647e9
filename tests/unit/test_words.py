"""What a person reads is short and plain: the texts of all modules, taken from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import loadkit

_ROOT = Path(loadkit.__file__).parent
_MOST_WORDS = 25
# A clause ends with a full stop, a semicolon or a colon; a new line of a text begins another one.
_CLAUSE_END = re.compile(r"(?<=[.?;:])\s+|\n+")
# What each stands for is in CONTRIBUTING.md: a pronoun as a noun, "a" for "per", a private verb.
_BANNED = (
    r"\bis none\b",
    r"\bor is none\b",
    r"\bfor who\b",
    r"\b[Nn]obody\b",
    r"\b[Ss]omebody\b",
    r"\b(?:processes|workers|files|B|KiB|MiB) a (?:process|core|connection|user)\b",
    r"\bmend(?:s|ed|ing)?\b",
    r"\blay\b",
    r"\bfor want of\b",
    r"\bis no echo server\b",
    r"\bevents a wake-up\b",
    r"[0-9X] a reply\b",
    r"\bhad work for\b",
    r"\bturns? of it\b",
)


def _text(node: ast.AST) -> str | None:
    """Returns the text of a literal, X for what is filled in; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return None


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the texts in a piece of source, docstrings and code for another interpreter left out."""
    for child in ast.iter_child_nodes(node):
        text = _text(child)
        if isinstance(child, ast.Expr) and _text(child.value) is not None:
            continue
        if text is None:
            yield from _texts(child)
        elif len(text.split()) >= 3 and "import " not in text:
            yield getattr(child, "lineno", 0), text


def _faults(text: str) -> list[str]:
    longest = max(len(clause.split()) for clause in _CLAUSE_END.split(text))
    found = [phrase for phrase in _BANNED if re.search(phrase, text)]
    return [*found, f"{longest} words in a clause"] if longest > _MOST_WORDS else found


_MODULES = sorted(_ROOT.rglob("*.py"))


def test_texts_are_found_with_what_is_filled_in_and_without_docstrings() -> None:
    source = '"""A docstring of words."""\nsay(f"{count} of two words")\nname = "short"\n'
    assert list(_texts(ast.parse(source))) == [(2, "X of two words")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(" ".join(["word"] * 26), "26 words in a clause", id="too long"),
        pytest.param("0.99 a reply", "X a reply", id="a for per"),
        pytest.param("the app is none", "is none", id="a pronoun as a noun"),
        pytest.param("a line that mends it", "mend", id="a private verb"),
    ],
)
def test_a_text_with_a_fault_is_found(text: str, fault: str) -> None:
    assert any(fault.split()[-1] in found for found in _faults(text))
    assert not _faults("Raise --rate; use more workers: 0.99 per reply. " + " ".join(["word"] * 25))


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_a_text_that_a_person_reads_is_in_short_clauses_and_plain_words(path: Path) -> None:
    for line, text in _texts(ast.parse(path.read_text())):
        assert not _faults(text), f"{path.name}:{line}: {_faults(text)}: {text}"
