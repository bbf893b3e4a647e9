r"""What a reply is expected to be like, as text, and the rule of it: `line`, `until:'\n.\n'`, `len:u32be,offset=4`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping

from loadkit.units import NS_PER_S, Duration, Size, format_size
from loadkit.wire.coded import Coded
from loadkit.wire.delimited import Delimited
from loadkit.wire.echo import Echo
from loadkit.wire.fixed import Fixed
from loadkit.wire.prefixed import Prefixed
from loadkit.wire.texts import unescape
from loadkit.wire.unmarked import Closed, Quiet
from loadkit.wire.wires import Rule

__all__ = ["ECHO", "MOST_EXPECTED_BYTES", "QUIET", "Expect"]

# The names of the echo, and of what only a quiet time ends.
ECHO, QUIET = "echo", "idle"
# What a reply may have unless `max=` says otherwise: as much as a message (--size). A length that says more is wrong.
MOST_EXPECTED_BYTES = 2**30
_MOST_DELIMITER_BYTES = 16
_MOST_OFFSET = 2**16
_LEAST_CODED_BYTES = 4
# Shorter ones end while a reply is still coming, and longer ones are beyond the time-outs in use.
_LEAST_QUIET_NS, _MOST_QUIET_NS = 100_000, 60 * NS_PER_S
_FIELD = re.compile(r"u(8|16|24|32|40|48|56|64)(be|le)?|varint")
_QUOTED = re.compile(r"""(['"])((?:(?!\1).)*)\1(?:,(.*))?""", re.DOTALL)


class Expect(str):
    """A framing as text. It is checked when it is read."""

    expected = (
        r"echo, line, line-code, bytes:N, until:'TEXT', len:FIELD (such as len:u32be,offset=4), close or idle:5ms"
    )

    @classmethod
    def parse(cls, value: object) -> Expect:
        """Reads a framing from text. Raises ValueError saying what was expected."""
        if not isinstance(value, str):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        text = cls(value)
        text.rule  # noqa: B018
        return text

    @property
    def rule(self) -> Rule:
        """The rule that it stands for; an echo's content is compared."""
        kind, colon, rest = self.partition(":")
        name, comma, more = kind.partition(",")
        if name in _PLAIN and not colon:
            return _PLAIN[name](_named(more, self, "max") if comma else {})
        if kind in _ARGUED and colon:
            return _ARGUED[kind](rest, self)
        if kind in _ARGUED:
            raise ValueError(f"{kind!r} lacks its argument: expected {self.expected}")
        near = difflib.get_close_matches(name, [*_PLAIN, *_ARGUED], n=1)
        raise ValueError(
            f"expected {self.expected}, got {str(self)!r}" + (f"; did you mean {near[0]}?" if near else "")
        )


def _named(text: str, whole: str, *known: str) -> dict[str, str]:
    """Returns `offset=1,adjust=-4` as names and values."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in known or name in found:
            raise ValueError(f"expected {', '.join(f'{one}=' for one in known)} once each, got {part!r} in {whole!r}")
        found[name] = value
    return found


def _most(named: Mapping[str, str]) -> int:
    if "max" not in named:
        return MOST_EXPECTED_BYTES
    most = int(Size.parse(named["max"]))
    if not 1 <= most <= MOST_EXPECTED_BYTES:
        raise ValueError(f"max={named['max']} is not from 1 B to {format_size(MOST_EXPECTED_BYTES)}")
    return most


def _integer(named: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = named.get(name, "0")
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise ValueError(f"expected {name}= from {least:,} to {most:,}, got {text!r}")
    return int(text)


def _echo(named: Mapping[str, str]) -> Rule:
    if named:
        raise ValueError("echo takes no max=: a reply is as long as its message")
    return Echo(check=True)


def _line(named: Mapping[str, str]) -> Rule:
    return Delimited(b"\n", _most(named))


def _coded(named: Mapping[str, str]) -> Rule:
    most = _most(named)
    if most < _LEAST_CODED_BYTES:
        raise ValueError(f"max= of line-code is at least {_LEAST_CODED_BYTES} B: three digits and the line's end")
    return Coded(most)


def _closed(named: Mapping[str, str]) -> Rule:
    return Closed(_most(named))


def _quiet(text: str, whole: str) -> Rule:
    time, comma, more = text.partition(",")
    quiet_ns = int(Duration.parse(time))
    if not _LEAST_QUIET_NS <= quiet_ns <= _MOST_QUIET_NS:
        raise ValueError(f"expected idle: from 100 us to 60 s, got {time!r}")
    return Quiet(quiet_ns, _most(_named(more, whole, "max") if comma else {}))


def _bytes(text: str, _whole: str) -> Rule:
    length = int(Size.parse(text))
    if not 1 <= length <= MOST_EXPECTED_BYTES:
        raise ValueError(f"expected bytes:N from 1 B to {format_size(MOST_EXPECTED_BYTES)}, got {text!r}")
    return Fixed(length)


def _until(text: str, whole: str) -> Rule:
    quoted = _QUOTED.fullmatch(text)
    if not quoted and text[:1] in ("'", '"'):
        raise ValueError(f"the quotation mark of {whole!r} is not closed, or more than ,max= follows it")
    delimiter = unescape(quoted[2] if quoted else text)
    if not 1 <= len(delimiter) <= _MOST_DELIMITER_BYTES:
        raise ValueError(f"expected until: with 1 to {_MOST_DELIMITER_BYTES} bytes, got {len(delimiter)} in {whole!r}")
    named = _named(quoted[3], whole, "max") if quoted and quoted[3] is not None else {}
    return Delimited(delimiter, _most(named))


def _length(text: str, whole: str) -> Rule:
    field, comma, more = text.partition(",")
    found = _FIELD.fullmatch(field)
    if not found or (found[1] and found[1] != "8" and not found[2]):
        raise ValueError(
            f"expected len:FIELD with u8, u16be, u16le, u24be, … u64le or varint, got {field!r} in {whole!r}"
        )
    named = _named(more, whole, "offset", "adjust", "max", "until") if comma else {}
    until = unescape(named.get("until", ""))
    if "until" in named and len(until) != 1:
        raise ValueError(f"expected until= and the byte that the last message begins with, got {named['until']!r}")
    return Prefixed(
        offset=_integer(named, "offset", 0, _MOST_OFFSET),
        width=int(found[1]) // 8 if found[1] else 0,
        is_little=found[2] == "le",
        adjust=_integer(named, "adjust", -(2**31), 2**31 - 1),
        most=_most(named),
        until=until,
    )


_PLAIN: Mapping[str, Callable[[Mapping[str, str]], Rule]] = {
    ECHO: _echo,
    "line": _line,
    "line-code": _coded,
    "close": _closed,
}
_ARGUED: Mapping[str, Callable[[str, str], Rule]] = {
    "bytes": _bytes,
    "until": _until,
    "len": _length,
    QUIET: _quiet,
}
