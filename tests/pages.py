"""README.md and the pages of docs/, cut into chapters and blocks, for the tests that run what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "blocks", "chapter", "commands", "page", "prose"]

ROOT = Path(__file__).parents[1]
# Name -> file. docs/record.md is made from the code, and has its own tests.
PAGES = {
    **{name: ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")},
    **{path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))},
}


class Block(NamedTuple):
    """A fenced block: its language, or "", and its text.

    `sh` is commands, `console` commands behind a prompt and what they print, `text` what a command prints.
    """

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


def commands(text: str) -> list[str]:
    """Returns the command lines of a text's blocks of `sh` and `console`, without comments, continued lines as one."""
    found = []
    for block in blocks(text):
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "sh":
            found += lines
        elif block.language == "console":
            found += [line.partition("$ ")[2] for line in lines if re.match(r"\w*\$ ", line)]
    return [bare for line in found if (bare := re.sub(r"(^|\s+)# .*", "", line).strip())]


def prose(text: str) -> str:
    """Returns a text without its fenced blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
