"""Texts that mean harm, and what no output may have in it."""

from __future__ import annotations

import re

from hypothesis import strategies as st

# A terminal obeys the first ones, a CI runner the next; then what breaks markup, tables, shells and decoders.
TEXTS = (
    "\x1b]0;owned\x07\x1b[2J",
    "\x9b31m\x85\x7f\x00",
    "\u202eevil\u2066\u2028next\u2029last\ufeff",
    "x\n::error file=app.py,line=1::injected",
    "\r\n  ::stop-commands::deadbeef\n",
    "::add-mask::a",
    "\u00a0::add-mask::a",
    "see ##[add-mask]a and ##vso[task.complete]b",
    "##",
    "[error]",
    "](javascript:x) <img src=x onerror=y> | `a` | ``",
    "'\";$(id)`id`\\",
    "]]></system-out>&lt;",
    "%0A%0D%25::error::",
    "-o",
    "",
    " ",
    "\uff21\u0391\u0301\u200d",
    "long " * 3000,
    "l" * 9_000,
)
HOSTILE = st.sampled_from(TEXTS) | st.lists(st.sampled_from(TEXTS[:-2]), max_size=3).map("".join)

_OBEYED = re.compile(r"^\s*::|##[A-Za-z]*\[")


def is_obeyed(line: str) -> bool:
    """Whether a CI runner takes the line for a command: GitHub's reads `::` behind blanks, and `##[` anywhere."""
    return bool(_OBEYED.search(line))


def is_seen(line: str) -> bool:
    """Whether all of the line can be seen, and nothing of it is obeyed by a terminal."""
    return line.isprintable()
