"""README.md and the pages of docs/, cut into chapters and blocks, for the tests that run what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "blocks", "chapter", "page"]

ROOT = Path(__file__).parents[1]
# Name -> file. docs/record.md is made from the code, and has its own tests.
PAGES = {
    **{name: ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")},
    **{path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))},
}


class Block(NamedTuple):
    """A fenced block of a page: its language, or "", and its text."""

    language: str
    text: str


def page(name: str) -> str:
    """Returns the text of a page: `README`, or the name of a file of docs/ without its suffix."""
    return PAGES[name].read_text()


def chapter(name: str, title: str) -> str:
    """Returns the text below a heading of the second level; raises ValueError if the page has no such heading."""
    found = page(name).partition(f"\n## {title}\n")
    if not found[1]:
        raise ValueError(f"{PAGES[name].name} has no chapter {title!r}")
    return found[2].partition("\n## ")[0]


def blocks(text: str) -> list[Block]:
    """Returns the fenced blocks of a text, in their order."""
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]
