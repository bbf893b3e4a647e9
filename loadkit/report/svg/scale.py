"""Scales: where a value stands in a picture, and the values that are marked on an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Scale", "Tick", "compact", "linear_scale", "linear_ticks", "log_scale", "log_ticks", "nines_ticks"]

_STEPS = (1, 2, 5, 10)
# More decades than this, and only every second one is marked.
_MOST_DECADES = 6


@dataclass(frozen=True, slots=True)
class Tick:
    """A value that is marked on an axis, and what is written there."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, drawn from `start` to `end`: evenly, or by the logarithm.

    Raises ValueError if `low` is not below `high`, or a logarithm begins at 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.is_log and self.low <= 0):
            raise ValueError(f"no scale goes from {self.low} to {self.high}")

    def at(self, value: float) -> float:
        """Returns where a value stands; one that is beyond an end stands at that end."""
        inside = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def linear_scale(most: float, start: float, end: float) -> Scale:
    """Returns a scale from 0 to a round number that is not below `most`."""
    step = _step(most if most > 0 else 1.0, 4)
    return Scale(0.0, step * max(1, math.ceil(most / step - 1e-9)), start, end)


def log_scale(least: float, most: float, start: float, end: float) -> Scale:
    """Returns a scale whose ends are 1, 2 or 5 times a power of 10, around both values, which are above 0."""
    low, high = _rounded(least, math.floor), _rounded(most, math.ceil)
    if low >= high:
        low, high = _rounded(low / 1.5, math.floor), _rounded(high * 1.5, math.ceil)
    return Scale(low, high, start, end, is_log=True)


def linear_ticks(scale: Scale, text: Callable[[float], str], most: int = 5) -> list[Tick]:
    """Returns about so many round values of a scale."""
    step = _step(scale.high - scale.low, most)
    first = math.ceil(scale.low / step - 1e-9)
    count = math.floor((scale.high - first * step) / step + 1e-9) + 1
    return [Tick(value, text(value)) for value in (round((first + at) * step, 12) for at in range(count))]


def log_ticks(scale: Scale, text: Callable[[float], str]) -> list[Tick]:
    """Returns the powers of 10 of a scale; 2 and 5 times them too where there are few."""
    decades = math.log10(scale.high / scale.low)
    factors = (1, 2, 5) if decades <= 2.4 else (1,)
    every = 2 if decades > _MOST_DECADES else 1
    return [Tick(value, text(value)) for value in _marks(scale, factors, every)]


def nines_ticks(scale: Scale) -> list[Tick]:
    """Returns the percentiles of a scale of 1 / (1 - p): 0, 50, 90, 99, 99.9 … %."""
    found = [Tick(value, text) for value, text in ((1.0, "0"), (2.0, "50%")) if scale.low <= value <= scale.high]
    nines = 1
    while 10**nines <= scale.high * (1 + 1e-9):
        found.append(Tick(10.0**nines, f"{100 - 10 ** (2 - nines):.{max(0, nines - 2)}f}%"))
        nines += 1
    return found


def compact(value: float) -> str:
    """Returns a number for an axis: `500`, `10k`, `1.5M`, `0.2`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _step(span: float, most: int) -> float:
    """Returns the least round step that divides a span into no more than so many parts."""
    decade = 10.0 ** math.floor(math.log10(span / most))
    return next(decade * step for step in _STEPS if decade * step * most >= span * (1 - 1e-9))


def _rounded(value: float, way: Callable[[float], int]) -> float:
    decade = 10.0 ** math.floor(math.log10(value) + 1e-12)
    parts = (1.0, 2.0, 5.0, 10.0)
    near = next((part for part in parts if math.isclose(value / decade, part)), None)
    if near is not None:
        return decade * near
    if way is math.ceil:
        return decade * next(part for part in parts if part >= value / decade)
    return decade * max(part for part in parts if part <= value / decade)


def _marks(scale: Scale, factors: tuple[int, ...], every: int) -> Iterator[float]:
    first = math.floor(math.log10(scale.low))
    last = math.ceil(math.log10(scale.high))
    for exponent in range(first, last + 1):
        for factor in factors:
            value = factor * 10.0**exponent
            if exponent % every == 0 and scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9):
                yield value
