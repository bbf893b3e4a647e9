"""When things are due, without clock or sleep.

A pace is a rate that changes linearly from a to b hertz over T seconds: after t seconds N(t) = a t + (b - a) t² / 2T
events are due, so event k (from 0) is due where N(t) = k. Solved for t in the form that does not cancel when a and b
are close: t = 2 k / (a + sqrt(a² + 2 k (b - a) / T)).

Worker i of n takes the events i, i + n, i + 2n, …, which shifts it by i/n of its own interval, and the n parts make up
the whole exactly.

The connects of the ramp are dealt out in lanes, one per core: worker w of n is in lane w modulo the number of lanes,
and a lane has the events of its workers (those congruent to one of them modulo n) in order. The workers of a lane take
turns: the first has the lane's first events, as many as it has connections, then comes the next. So all lanes together
have each event once, however the workers fit into them, and a lane of two workers has twice the events of one of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from loadkit.units import NS_PER_S

__all__ = ["AT_ONCE_HZ", "LinearPace", "Turn", "due_times", "every", "share"]


# Events of no rate of their own are due a nanosecond apart: what comes first is still known.
AT_ONCE_HZ = 1e9


@dataclass(frozen=True, slots=True)
class LinearPace:
    """A rate in events per second that changes linearly from `start_hz` to `end_hz`.

    It begins at `begin_ns`, on any time line in nanoseconds, and lasts `duration_ns`.
    """

    begin_ns: int
    duration_ns: int
    start_hz: float
    end_hz: float

    def total(self) -> int:
        """Returns how many events are due before the end: those k with time(k) < begin + duration."""
        area = (self.start_hz + self.end_hz) / 2 * self.duration_ns / NS_PER_S
        return math.ceil(area - 1e-9 * max(1.0, area))

    def time(self, k: int) -> int:
        """Returns when event k is due, in nanoseconds on the time line of `begin_ns`."""
        return self.begin_ns + round(self.after_ns(k))

    def after_ns(self, events: float) -> float:
        """Returns how long after the beginning so many events were due, in nanoseconds. It need not be a whole number.

        The rate is taken to go on changing after the end. If it comes to 0 before so many events, the time is later.
        """
        change = (self.end_hz - self.start_hz) / (self.duration_ns / NS_PER_S)
        if change == 0:
            return events * NS_PER_S / self.start_hz
        root = math.sqrt(max(0.0, self.start_hz * self.start_hz + 2 * events * change))
        seconds = 2 * events / (self.start_hz + root) if events else 0.0
        return seconds * NS_PER_S


@dataclass(frozen=True, slots=True)
class Turn:
    """A worker's connects: `count` events of lane `lane` of `lanes`, from event number `place` of that lane on.

    All lanes together have `of` workers.
    """

    place: int
    count: int
    lane: int
    lanes: int
    of: int

    def number(self, place: int) -> int:
        """Returns the number, among those of all lanes, of event `place` of the lane."""
        workers = len(range(self.lane, self.of, self.lanes))
        return place // workers * self.of + self.lane + place % workers * self.lanes

    def due_times(self, begin_ns: int, rate_hz: float | None) -> Iterator[int]:
        """Yields when its events are due, in ns: event k of all lanes is due k intervals of `rate_hz` after `begin_ns`.

        Without a rate all events are due at once.
        """
        rate_hz = rate_hz or AT_ONCE_HZ
        numbers = (self.number(place) for place in range(self.place, self.place + self.count))
        return (begin_ns + round(k * NS_PER_S / rate_hz) for k in numbers)


def due_times(pace: LinearPace, index: int, of: int) -> Iterator[int]:
    """Yields when the events of worker `index` of `of` are due, in order, in ns on the time line of the pace."""
    return (pace.time(k) for k in range(index, pace.total(), of))


def every(begin_ns: int, rate_hz: float, total: int, index: int, of: int) -> Iterator[int]:
    """Yields when worker `index` of `of` has its part of `total` events at a constant rate, from `begin_ns` on."""
    return (begin_ns + round(k * NS_PER_S / rate_hz) for k in range(index, total, of))


def share(total: int, index: int, of: int) -> int:
    """Returns worker `index`'s part of `total`: how many of 0 … total - 1 are congruent to index modulo `of`."""
    return total // of + (index < total % of)
