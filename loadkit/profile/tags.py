"""Notes of a person on a run, `--tag KEY=VALUE`: they are kept in its record, and change nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadkit.errors import OptionError

__all__ = ["Tag", "tags_of"]

_TAG = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,63})=(.*)", re.DOTALL)
# It is a note, and no attachment.
_MOST_CHARACTERS = 256


class Tag(str):
    """A key and a value with `=` between them; the value may be empty, and may have a `=` in it."""

    expected = (
        "KEY=VALUE, a key of letters, digits, '_', '.' and '-' that begins with a letter, and a value of at most 256 "
        "printable characters"
    )

    @classmethod
    def parse(cls, value: object) -> Tag:
        """Reads a tag from text. Raises ValueError saying what was expected."""
        found = _TAG.fullmatch(value) if isinstance(value, str) else None
        if not found or len(found[2]) > _MOST_CHARACTERS or not found[2].isprintable():
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        return cls(value)


def tags_of(tags: Sequence[Tag]) -> dict[str, str]:
    """Returns key -> value. Raises OptionError for a key that is given twice."""
    found: dict[str, str] = {}
    for tag in tags:
        key, _, value = tag.partition("=")
        if key in found:
            raise OptionError(f"--tag: {key} is given twice, as {found[key]!r} and {value!r}; give each key once")
        found[key] = value
    return found
