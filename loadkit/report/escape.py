"""Text as each markup has to write it so that it stays text: no pipe begins a new cell, no `<` a tag.

What no format may have in it (printable.py) is taken out here as well.
"""

from __future__ import annotations

import re

from loadkit.printable import printable

__all__ = ["markdown", "markdown_code", "workflow_message", "workflow_property", "xml"]

# What means something inside a line of GitHub's Markdown; each may stand behind a backslash (CommonMark 2.4). An
# underscore inside a word means nothing.
_MARKDOWN = re.compile(r"[\\`*{}\[\]<>&|~$#]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
# Ours, in the texts of reasons and advice: `loadkit doctor -c 100`.
_QUOTED = re.compile(r"`([^`]+)`")


def markdown(text: str) -> str:
    """Returns text for a line or a table cell of Markdown. What stands between backticks becomes code."""
    parts = _QUOTED.split(printable(text))
    return "".join(markdown_code(part) if at % 2 else _MARKDOWN.sub(r"\\\g<0>", part) for at, part in enumerate(parts))


def markdown_code(text: str) -> str:
    """Returns text as code in a line or a table cell of Markdown.

    A code span knows no escapes, and a pipe with a backslash before it cannot be written in one that stands in a table;
    so what has any of these is written as a tag, with character references.
    """
    line = printable(text)
    if line and not re.search(r"[`|\\]", line):
        return f"`{line}`"
    return f"<code>{re.sub(r'[^ 0-9A-Za-z]', lambda char: f'&#{ord(char[0])};', line)}</code>"


def xml(text: str) -> str:
    """Returns a line of text for an XML element, or an attribute in double quotes."""
    line = printable(text)
    for char, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        line = line.replace(char, reference)
    return line


def workflow_message(text: str) -> str:
    """Returns text, of several lines if need be, as the message of a GitHub workflow command.

    The runner undoes `%25`, `%0D` and `%0A`; a carriage return ends a line here and does not get that far.
    """
    return "%0A".join(printable(line).replace("%", "%25") for line in text.splitlines())


def workflow_property(text: str) -> str:
    """Returns text as a property of a GitHub workflow command, such as its title."""
    return workflow_message(text).replace(":", "%3A").replace(",", "%2C")
