"""Text such as `250ms`, `64KiB`, `10k` and `1k:10k`, to numbers and back. No other module reads or prints units.

Inside loadkit a duration is an integer of nanoseconds, a size an integer of bytes, a rate a float of hertz.
"""

from __future__ import annotations

import math
import re

__all__ = [
    "ConnectRate",
    "Count",
    "Duration",
    "Mode",
    "Pace",
    "Rate",
    "Share",
    "Size",
    "decimal",
    "exact_duration",
    "exact_size",
    "format_count",
    "format_duration",
    "format_rate",
    "format_ratio",
    "format_share",
    "format_size",
    "plural",
    "times",
    "with_unit",
]

_OCTAL = re.compile(r"0?[0-7]{1,3}", re.ASCII)
NS_PER_S = 1_000_000_000

_DURATION_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
# As for counts, k is 1,000: what is 1,024 has its i.
_SIZE_BYTES = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    **dict.fromkeys(("k", "K", "kB", "KB"), 10**3),
    **dict.fromkeys(("m", "M", "MB"), 10**6),
    **dict.fromkeys(("G", "GB"), 10**9),
}
_COUNT = {"k": 10**3, "m": 10**6, "K": 10**3, "M": 10**6}
_NUMBER = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-zµ]*)")
_BARE = re.compile(r"\s*[0-9][0-9_]*(\.[0-9]+)?\s*")
# Between the parts of `1m30s`.
_JOINTS = re.compile(r"(?<=[A-Za-zµ])\s*(?=[0-9])")


def with_unit(value: object, unit: str) -> object:
    """Returns a number without a unit as text with `unit`, and any other value as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool | Duration):
        return f"{decimal(value)}{unit}"
    return f"{value}{unit}" if isinstance(value, str) and _BARE.fullmatch(value) else value


def decimal(number: float) -> str:
    """Returns a number as the text that is read as it: without an exponent, to the ninth decimal."""
    return f"{number:.9f}".rstrip("0").rstrip(".") if isinstance(number, float) else str(number)


def _scaled(text: str, factors: dict[str, int], expected: str) -> float:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or (match[2] and match[2] not in factors):
        raise ValueError(f"expected {expected}, got {text!r}")
    value = float(match[1].replace("_", "")) * factors.get(match[2], 1)
    if math.isinf(value):
        raise ValueError(f"expected {expected}, got a number that is too large")
    return value


def _whole(value: float, text: object, expected: str) -> int:
    if value > 2**53 or value != math.floor(value):
        raise ValueError(f"expected {expected}, got {text!r}")
    return int(value)


class Count(int):
    """A whole number: `500`, `10k`, `1.5m` (k = 1,000, m = 1,000,000)."""

    expected = "a whole number such as 500, 10k or 1.5m"

    @classmethod
    def parse(cls, value: object) -> Count:
        """Reads a count from text or a number. Raises ValueError saying what was expected."""
        return cls(_whole(_plain(value, _COUNT, cls.expected), value, cls.expected))


class Mode(str):
    """Permissions of a file in octal, as chmod(1) has them: `0660`.

    Text alone: of a number nobody knows whether its digits are octal (TOML's 660 and 0o660).
    """

    expected = 'octal permissions from 0 to 0777 as text, such as "0660"'

    @classmethod
    def parse(cls, value: object) -> Mode:
        """Reads them from text. Raises ValueError saying what was expected."""
        if not isinstance(value, str) or not _OCTAL.fullmatch(value):
            raise ValueError(f"expected {cls.expected}, got {str(value)[:80]!r}")
        return cls(value)

    @property
    def bits(self) -> int:
        """The permissions as a number."""
        return int(self, 8)


class Duration(int):
    """A duration in nanoseconds: `250ms`, `2s`, `1.5m`, `1m30s`, `1h`. A bare number is refused, except 0."""

    expected = "a duration with its unit, such as 250ms, 2s or 1m30s"

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Reads a duration from text. Raises ValueError saying what was expected."""
        if isinstance(value, Duration):
            return value
        text = str(value)
        if text.strip() == "0":
            return cls(0)
        parts = _JOINTS.split(text.strip())
        numbers = [_NUMBER.fullmatch(part) for part in parts]
        units = [_DURATION_NS.get(number[2], 0) if number else 0 for number in numbers]
        # The larger unit comes first, and each of them once.
        if not isinstance(value, str) or not all(units) or units != sorted(set(units), reverse=True):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        whole = sum(_scaled(part, _DURATION_NS, cls.expected) for part in parts)
        return cls(_whole(round(whole), value, cls.expected))


class Size(int):
    """A size in bytes: `64`, `64B`, `4KiB` (1,024 each), `1k`, `1.5KB`, `1MB` (1,000 each)."""

    expected = "a size such as 64B, 4KiB (4,096 B) or 4k (4,000 B)"

    @classmethod
    def parse(cls, value: object) -> Size:
        """Reads a size from text or a number of bytes. Raises ValueError saying what was expected."""
        return cls(_whole(_plain(value, _SIZE_BYTES, cls.expected), value, cls.expected))


class Rate(float):
    """A rate per second: `500`, `10k`, `10k/s`, `0.5`."""

    expected = "a rate per second such as 500, 10k or 0.5"

    @classmethod
    def parse(cls, value: object) -> Rate:
        """Reads a rate from text or a number. Raises ValueError saying what was expected."""
        text = value.strip().removesuffix("/s") if isinstance(value, str) else value
        return cls(_plain(text, _COUNT, cls.expected))


class Share(float):
    """A part of a whole, between 0 and 1, written in percent: `1%`, `0.5 %`. A bare number is refused, except 0."""

    expected = "a share in percent such as 1% or 0.5%"

    @classmethod
    def parse(cls, value: object) -> Share:
        """Reads a share from text. Raises ValueError saying what was expected."""
        text = str(value).strip()
        if text == "0":
            return cls(0.0)
        if not isinstance(value, str) or not text.endswith("%"):
            raise ValueError(f"expected {cls.expected}, got {value!r}")
        return cls(_plain(text.removesuffix("%"), {}, cls.expected) / 100)


class ConnectRate(float):
    """How fast connections open: a rate per second, or `max`, as soon as there is room for another: it is infinite."""

    expected = "a rate per second such as 500, 10k or 0.5, or max"

    @classmethod
    def parse(cls, value: object) -> ConnectRate:
        """Reads a rate from text or a number. Raises ValueError saying what was expected."""
        if isinstance(value, ConnectRate):
            return value
        if isinstance(value, str) and value.strip() == "max":
            return cls(math.inf)
        try:
            return cls(Rate.parse(value))
        except ValueError:
            raise ValueError(f"expected {cls.expected}, got {value!r}") from None


class Pace(tuple[float, float]):
    """A rate at the start and at the end of a phase: `10k` stays, `1k:10k` grows linearly."""

    expected = "a rate such as 10k, or a ramp such as 1k:10k"

    @classmethod
    def parse(cls, value: object) -> Pace:
        """Reads a rate or a ramp `A:B`. Raises ValueError saying what was expected."""
        if isinstance(value, Pace):
            return value
        start, colon, end = str(value).partition(":") if isinstance(value, str) else (value, "", "")
        try:
            return cls((float(Rate.parse(start)), float(Rate.parse(end if colon else start))))
        except ValueError:
            raise ValueError(f"expected {cls.expected}, got {value!r}") from None


def _plain(value: object, factors: dict[str, int], expected: str) -> float:
    if isinstance(value, str):
        return _scaled(value, factors, expected)
    # A whole number may be larger than any float, and than Python prints.
    if isinstance(value, int) and not isinstance(value, bool) and value > 2**64:
        raise ValueError(f"expected {expected}, got a number that is too large")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"expected {expected}, got {value!r}")
    return float(value)


def format_duration(ns: float) -> str:
    """Prints nanoseconds with three significant digits: `870 ns`, `12.3 us`, `4.56 ms`, `1.20 s`."""
    for limit, factor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms"), (math.inf, 1e9, "s")):
        # The bound leaves out what would be rounded up to 1000 of the smaller unit.
        if abs(ns) < limit * (1 - 0.5e-3):
            return f"{_three_digits(ns / factor)} {unit}"
    raise ValueError(f"not a duration: {ns!r}")


def exact_duration(ns: float) -> str:
    """Prints nanoseconds with all their digits, in the largest unit up to seconds: `36,000 s`, `999.999 us`, `0 s`."""
    factor, unit = next(
        (pair for pair in ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")) if abs(ns) >= pair[0]), (1e9, "s")
    )
    return f"{ns / factor:,.15g} {unit}"


def exact_size(size_bytes: int) -> str:
    """Prints bytes with all their digits: `1 GiB`, `1,073,741,823 B`."""
    units = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
    factor, unit = next((pair for pair in units if size_bytes and size_bytes % pair[0] == 0), (1, "B"))
    return f"{size_bytes // factor:,} {unit}"


def _three_digits(value: float) -> str:
    if value == int(value) and abs(value) < 1000:
        return f"{int(value)}"
    if abs(value) < 0.1:
        return _small(value)
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"


def _small(value: float) -> str:
    """Two significant digits, however small: what is not 0 is not shown as 0."""
    decimals = 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{decimals}f}".rstrip("0")


def format_count(value: float) -> str:
    """Prints a whole number with thousands separators: `1,003,600`."""
    return f"{round(value):,}"


def plural(count: float, noun: str) -> str:
    """Prints a count with its noun: `1 error`, `2,000 errors`, `0 replies`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{format_count(count)} {noun if count == 1 else many}"


def times(count: int) -> str:
    """Prints how often something happened: `once`, `2,000 times`."""
    return "once" if count == 1 else plural(count, "time")


def format_ratio(ratio: float) -> str:
    """Prints a ratio, or a count of one thing per another, with three significant digits: `0.93`, `1.50`, `12,345`."""
    return _three_digits(ratio)


def format_rate(hz: float) -> str:
    """Prints a rate: `12,345/s`, `0.50/s`, `0.004/s`."""
    if hz >= 100 or hz == int(hz):
        return f"{format_count(hz)}/s"
    return f"{hz:.2f}/s" if hz >= 0.1 else f"{_small(hz)}/s"


def format_share(share: float) -> str:
    """Prints a share in percent: `2.0 %`, `0.001 %`; what is not 0 is not shown as 0, and 100 % is no less than all."""
    percent = 100 * share
    if not percent:
        return "0 %"
    if 99.95 <= percent < 100:
        return "more than 99.9 %"
    return f"{percent:.1f} %" if percent >= 0.95 else f"{percent:.2g} %" if percent >= 0.0001 else "less than 0.0001 %"


def format_size(size_bytes: float) -> str:
    """Prints bytes in binary units with three significant digits: `64 B`, `1.50 KiB`, `2 MiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1023.5:
            return f"{_three_digits(value)} {unit}"
        value /= 1024
    return f"{_three_digits(value)} TiB"
