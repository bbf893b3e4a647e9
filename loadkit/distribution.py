"""Sizes and durations that differ: `64B`, `uniform:1ms-9ms`, `normal:5ms,1ms`, `exp:5ms`, `list:1KiB:9,1MiB:1`.

A distribution is known by its quantile function: the value that a given share of all values is below. A random share
(chance.py) then makes a random value. What draws (`Drawing`, and native/drawing.h) has points of this function with
straight lines between them, so the engines have no code for a shape. Constant, uniform and list are exact that way;
exp is within 0.03 % of its mean, normal within 0.05 % of its deviation.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import ClassVar, Self

from loadkit.chance import share_at
from loadkit.units import Duration, Size, exact_duration, exact_size

__all__ = ["Distribution", "Drawing", "Durations", "Shape", "Sizes"]

# The rarest value that is drawn comes once in 2**40 times (10**12): it is the most of a shape without an end.
_RARE_OCTAVES = 40
_POINTS_AN_OCTAVE = 16
_NORMAL = NormalDist()


class Shape(enum.StrEnum):
    """What a distribution is like: the name that stands before its values. A constant has none."""

    CONSTANT = "constant"
    UNIFORM = "uniform"
    NORMAL = "normal"
    EXP = "exp"
    LIST = "list"


class Distribution:
    """How values are spread, in whole bytes or nanoseconds: Sizes or Durations. None is below the least of its unit.

    `values` are, by shape: the value; the least and the most; the mean and the deviation of the normal distribution
    before what is below the least is left out; the mean; the values of the list, with a weight for each.
    """

    __slots__ = ("shape", "values", "weights")

    unit: ClassVar[type[Duration] | type[Size]]
    least_of_unit: ClassVar[int]
    expected: ClassVar[str]
    _example: ClassVar[str]

    def __init__(self, shape: Shape, values: Sequence[int], weights: Sequence[float] = ()) -> None:
        self.shape = shape
        self.values = tuple(values)
        self.weights = tuple(weights)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Reads a distribution from text; from what its unit is read from, a constant.

        Raises ValueError saying what was expected, and where in the text.
        """
        if isinstance(value, cls):
            return value
        name, colon, rest = value.strip().partition(":") if isinstance(value, str) else ("", "", "")
        if not colon:
            return cls(Shape.CONSTANT, (cls._read(value, ""),))
        if name == Shape.UNIFORM:
            return cls._uniform(rest)
        if name == Shape.NORMAL:
            return cls._normal(rest)
        if name == Shape.EXP:
            return cls(Shape.EXP, (cls._read(rest, "exp:MEAN: MEAN: ", at_least=1),))
        if name == Shape.LIST:
            return cls._list(rest)
        raise ValueError(f"expected {cls.expected}, got {value!r}")

    @classmethod
    def _read(cls, text: object, place: str, at_least: int | None = None) -> int:
        try:
            number = int(cls.unit.parse(text))
        except ValueError as error:
            raise ValueError(f"{place}{error}" if place else f"expected {cls.expected}, got {text!r}") from None
        least = cls.least_of_unit if at_least is None else at_least
        if number < least:
            raise ValueError(f"{place}{cls._spell(number)} is below the minimum of {cls._spell(least)}")
        return number

    @classmethod
    def _uniform(cls, text: str) -> Self:
        least, between, most = text.partition("-")
        if not between:
            raise ValueError(f"uniform:A-B: expected two values with - between them, got {text!r}")
        values = cls._read(least, "uniform:A-B: A: "), cls._read(most, "uniform:A-B: B: ")
        if values[0] > values[1]:
            raise ValueError(f"uniform:A-B: A is above B, got {text!r}")
        return cls(Shape.UNIFORM, values)

    @classmethod
    def _normal(cls, text: str) -> Self:
        mean, between, deviation = text.partition(",")
        if not between:
            raise ValueError(f"normal:MEAN,SD: expected two values with a comma between them, got {text!r}")
        place = "normal:MEAN,SD: "
        values = cls._read(mean, f"{place}MEAN: "), cls._read(deviation, f"{place}SD: ", at_least=1)
        return cls(Shape.NORMAL, values)

    @classmethod
    def _list(cls, text: str) -> Self:
        values, weights = [], []
        for number, entry in enumerate(text.split(","), 1):
            place = f"list:V:W,V:W: entry {number}: "
            value, colon, weight = entry.partition(":")
            if not colon:
                raise ValueError(f"{place}expected a value and its weight, such as {cls._example}:9, got {entry!r}")
            values.append(cls._read(value, place))
            weights.append(_weight(weight, place))
        return cls(Shape.LIST, values, weights)

    # -- what it is like

    @property
    def mean(self) -> float:
        """The mean of its values, before they are rounded to whole ones; of an exp, before its end too."""
        first = float(self.values[0])
        if self.shape is Shape.UNIFORM:
            return sum(self.values) / 2
        if self.shape is Shape.NORMAL:
            low = (self.least_of_unit - first) / self.values[1]
            return first + self.values[1] * _NORMAL.pdf(low) / (1 - _NORMAL.cdf(low))
        if self.shape is Shape.LIST:
            products = (value * weight for value, weight in zip(self.values, self.weights, strict=True))
            return math.fsum(products) / math.fsum(self.weights)
        return first

    @property
    def least(self) -> int:
        """The least value that is drawn."""
        return Drawing(self).least

    @property
    def most(self) -> int:
        """The most that is drawn; of a shape without an end, what is as rare as once in 10**12."""
        return Drawing(self).most

    def quantile(self, share: float) -> float:
        """Returns the value that this share of all values is below. The share is above 0, and below 1."""
        if self.shape is Shape.UNIFORM:
            return self.values[0] + share * (self.values[1] - self.values[0])
        if self.shape is Shape.EXP:
            return -self.values[0] * math.log1p(-share)
        if self.shape is Shape.NORMAL:
            mean, deviation = self.values
            # By the tail above, which keeps its digits where the share is close to 1.
            tail = (1 - share) * _NORMAL.cdf((mean - self.least_of_unit) / deviation)
            return mean - deviation * _NORMAL.inv_cdf(tail)
        if self.shape is Shape.LIST:
            reached = list(accumulate(self.weights))
            return self.values[min(bisect_right(reached, share * reached[-1]), len(self.values) - 1)]
        return self.values[0]

    def points(self) -> tuple[tuple[float, float], ...]:
        """Returns points (share, value) of the quantile function from share 0 to 1; two of the same share are a step.

        Values between them lie on straight lines.
        """
        if self.shape is Shape.LIST:
            reached = [0.0, *accumulate(self.weights)]
            edges = pairwise(weight / reached[-1] for weight in reached)
            steps = zip(edges, map(float, self.values), strict=True)
            return tuple(point for (low, high), value in steps for point in ((low, value), (high, value)))
        if self.shape is Shape.UNIFORM:
            # Rounded, each whole value has the same share, the first and the last too.
            return (0.0, self.values[0] - 0.5), (1.0, self.values[1] + 0.5)
        if self.shape is Shape.CONSTANT:
            return (0.0, float(self.values[0])), (1.0, float(self.values[0]))
        places = range(_POINTS_AN_OCTAVE, _RARE_OCTAVES * _POINTS_AN_OCTAVE + 1)
        tail = [2.0 ** (-place / _POINTS_AN_OCTAVE) for place in places]
        inner = [(share, self.quantile(share)) for share in (*reversed(tail[1:]), *(1 - share for share in tail))]
        return (0.0, inner[0][1]), *inner, (1.0, inner[-1][1])

    def drawn(self, seed: int, count: int) -> list[int]:
        """Returns `count` values: those at the shares number 0, 1, 2 and so on of a seed."""
        drawing = Drawing(self)
        return [drawing.at(share_at(seed, number)) for number in range(count)]

    # -- as text, and as a value

    def __str__(self) -> str:
        """Spells it as it is read."""
        words = [self._spell(value).replace(",", "").replace(" ", "") for value in self.values]
        if self.shape is Shape.CONSTANT:
            return words[0]
        if self.shape is Shape.LIST:
            return f"list:{','.join(f'{word}:{weight:.15g}' for word, weight in zip(words, self.weights, strict=True))}"
        return f"{self.shape}:{('-' if self.shape is Shape.UNIFORM else ',').join(words)}"

    def __repr__(self) -> str:
        """Names the unit too."""
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same unit, shape and values."""
        return isinstance(other, Distribution) and self._all == other._all

    def __hash__(self) -> int:
        """Follows from what is compared."""
        return hash(self._all)

    @property
    def _all(self) -> tuple[object, ...]:
        return type(self), self.shape, self.values, self.weights

    @classmethod
    def _spell(cls, value: int) -> str:
        return exact_duration(value) if cls.unit is Duration else exact_size(value)


class Durations(Distribution):
    """Durations in nanoseconds, 0 or more."""

    __slots__ = ()

    unit = Duration
    least_of_unit = 0
    expected = (
        "a duration such as 5ms, or uniform:1ms-9ms, normal:5ms,1ms (mean and deviation), exp:5ms (mean) or "
        "list:1ms:9,1s:1 (values and weights)"
    )
    _example = "1ms"


class Sizes(Distribution):
    """Sizes in bytes, 1 or more."""

    __slots__ = ()

    unit = Size
    least_of_unit = 1
    expected = (
        "a size such as 64B or 4KiB, or uniform:64B-4KiB, normal:1KiB,100B (mean and deviation), exp:1KiB (mean) or "
        "list:1KiB:90,1MiB:10 (values and weights)"
    )
    _example = "1KiB"


class Drawing:
    """Makes a distribution's values out of shares; native/drawing.h does the same, to the bit."""

    __slots__ = ("_areas", "_shares", "_values", "least", "most")

    def __init__(self, distribution: Distribution) -> None:
        points = distribution.points()
        self._shares = [share for share, _ in points]
        self._values = [value for _, value in points]
        # Below the quantile function, up to each point; the last one is the mean.
        parts = ((high - low) * (before + after) / 2 for (low, before), (high, after) in pairwise(points))
        self._areas = list(accumulate(parts, initial=0.0))
        values = distribution.values
        is_whole = distribution.shape in (Shape.CONSTANT, Shape.UNIFORM, Shape.LIST)
        self.least = min(values) if is_whole else max(distribution.least_of_unit, round(self._values[0]))
        self.most = max(values) if is_whole else round(self._values[-1])

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """The points that it draws from."""
        return tuple(zip(self._shares, self._values, strict=True))

    def at(self, share: float) -> int:
        """Returns the whole value at a share from 0 to below 1."""
        place = bisect_right(self._shares, share)  # the first point above it: there is one
        low, high = self._shares[place - 1], self._shares[place]
        value = self._values[place - 1]
        value += (self._values[place] - value) * ((share - low) / (high - low))
        return min(max(round(value), self.least), self.most)

    def under_way(self, share: float) -> int:
        """Returns how long the value is that is under way at any moment, if one follows another, at a share.

        Each is under way for as long as it is: so the long ones have a larger share.
        """
        area = share * self._areas[-1]
        place = min(bisect_right(self._areas, area), len(self._areas) - 1)
        before, width = self._areas[place - 1], self._areas[place] - self._areas[place - 1]
        low, high = self._values[place - 1] * self._values[place - 1], self._values[place] * self._values[place]
        part = (area - before) / width if width > 0 else 0.0
        return min(max(round(math.sqrt(low + (high - low) * part)), self.least), self.most)


def _weight(text: str, place: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"{place}expected a weight above 0, such as 9 or 0.5, got {text!r}")
    return weight
