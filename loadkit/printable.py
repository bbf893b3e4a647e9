r"""Text that is not ours, on its way to a terminal, a file or the log of a pipeline.

What a record, a peer, a profile, an app's exception, an argument or a variable holds may be anything: escape sequences
that a terminal obeys, characters that turn the direction of text around, ends of lines, the lone surrogates that Python
makes of bytes that are no UTF-8, and lines that a CI runner takes for a command. All of it passes here where an output
is made:

- `cleaned` turns each text of a value into one line, before a page is made of it;
- `wrapped` breaks a text into lines, none of which begins with an address such as `::1`;
- `page` is the last step of a page, and leaves no line that a runner would obey;
- `printable` is both for a text that has to be one line, such as an error;
- `shortened` cuts what is very long in such a line;
- `json_page` writes the same characters as JSON does, so that the values stay what they are;
- `shell_word` and `shell_line` quote what is there to be copied into a shell.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

__all__ = ["WIDTH", "cleaned", "json_page", "page", "printable", "shell_line", "shell_word", "shortened", "wrapped"]

_Value = TypeVar("_Value")

# Columns of a report that does not go to a terminal.
WIDTH = 100

# GitHub's runner obeys a line that begins with `::`, behind blanks too, and `##[…]` anywhere in a line (actions/runner,
# ActionCommand.cs); Azure Pipelines and TeamCity obey `##vso[…]` and `##teamcity[…]`.
_COMMAND_ANYWHERE = re.compile(r"#(?=#[A-Za-z]*\[)")
# JSON of msgspec's has one of these if `printable` would change a text in it that can be seen: it has no blanks between
# its values, and a text with a blank at an end has one beside its quotation mark.
_SUSPECT = ("\\", "  ", '" ', ' "', "##")
_NO_BREAK = "\u00a0"  # is no blank to textwrap
_COMMAND_AT_START = re.compile(r"^(\s*):(?=:)")

# What nobody reads to its end: a word, or a text in quotation marks; and a whole line, which may list addresses.
_MOST_OF_A_WORD, _MOST_OF_A_LINE = 400, 4_000
_LONG = re.compile(
    rf"\S{{{_MOST_OF_A_WORD + 1},}}"
    rf"|(?<!\w)(?P<mark>['\"`])(?:\\.|(?!(?P=mark))[^\\]){{{_MOST_OF_A_WORD - 1},}}(?P=mark)"
)


def printable(text: str) -> str:
    r"""Returns one line with what cannot be seen written out: a tab is a space, an escape character `\x1b`.

    That is more than XML 1.0 forbids (C0 controls, lone surrogates, U+FFFE, U+FFFF), and includes what turns the
    direction of text around.
    """
    return _COMMAND_ANYWHERE.sub(r"\\x23", _seen(" ".join(text.split())))


def shortened(line: str) -> str:
    """Returns a line with what is very long in it cut in the middle: an argument may have 128 KiB, a file more.

    Its beginning says what it is about, its end what to do.
    """
    line = _LONG.sub(lambda found: _without_middle(found[0], _MOST_OF_A_WORD), line)
    return _without_middle(line, _MOST_OF_A_LINE)


def cleaned(value: _Value) -> _Value:
    """Returns a value, such as a record, with each text in it made printable: texts, and names of dictionaries."""
    result: _Value = value if _is_clean(value) else _cleaned(value)
    return result


def page(text: str) -> str:
    """Returns text of several lines, tabs as they are, with nothing in it that a terminal or a CI runner obeys."""
    return "\n".join(map(_line, text.split("\n")))


def wrapped(text: str, width: int, **options: Any) -> list[str]:
    """Returns the lines of textwrap.wrap, where a word that begins with `::` stays behind the word before it."""
    text = re.sub(" +(?=::)", _NO_BREAK, text)
    return [line.replace(_NO_BREAK, " ") for line in textwrap.wrap(text, width, **options)]


def json_page(text: str) -> str:
    r"""Returns JSON text with what cannot be seen as `\u001b`: the values are the same, and a terminal is safe.

    Between the values of JSON there are only blanks and ends of lines, so all of that stands inside a text. Lone
    surrogates have to be gone before: no JSON decoder takes them.
    """
    if not text.replace("\n", "").isprintable():
        text = "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)
    return _COMMAND_ANYWHERE.sub(r"\\u0023", text)


def shell_word(word: str) -> str:
    r"""Returns the word as a shell takes it: `$'…'` (bash, zsh, POSIX.1-2024) where it has what cannot be seen."""
    if word.isprintable() and not _COMMAND_ANYWHERE.search(word):
        return shlex.quote(word)
    return f"$'{''.join(map(_shell_escape, word))}'"


def shell_line(words: Iterable[str]) -> str:
    """Returns the words of a command as a shell takes them."""
    return " ".join(map(shell_word, words))


def _without_middle(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 5 // 8]}…{text[-(most // 4) :]}"


def _is_clean(value: object) -> bool:
    """Whether it has nothing to clean, by a look at its JSON: to visit each value of an hour's record takes 25 ms."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return False
    return text.isprintable() and not any(mark in text for mark in _SUSPECT)


def _cleaned(value: Any) -> Any:
    if type(value) is str:
        return printable(value)
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        changed = {name: _cleaned(one) for name, one in fields.items()}
        return value if changed == fields else type(value)(**changed)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_cleaned, value))
    return value


def _line(line: str) -> str:
    line = _COMMAND_AT_START.sub(r"\1\\x3a", "\t".join(map(_seen, line.split("\t"))))
    return _COMMAND_ANYWHERE.sub(r"\\x23", line)


def _seen(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _shell_escape(char: str) -> str:
    r"""`\x1b` for each byte: an argument that is no UTF-8 has its bytes as surrogates (PEP 383)."""
    if char in "'\\#" or not char.isprintable():
        is_byte = "\udc80" <= char <= "\udcff"
        return "".join(
            f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
        )
    return char
