"""What the slowest messages of a run spent their time with, in one sentence, from the stages of its journey.

The slowest messages (the slowest hundredth, or tenth if that has fewer than ten) are what a percentile is made of.
Their time is put together by cause (_CAUSES), and the largest cause speaks. What they were held behind the reply to an
earlier message is left out, because that message's stages say why.

1. No cause has _DOMINATES of the time: the two largest are named, and no advice is given.
2. The serve end's loop was busy, or its batch long: its workers are too few.
3. The same at the blast end: what is measured is the generator.
4. Either, though that loop was busy for less than _BUSY of the time: it was interrupted, by the host (STOLEN), by other
   processes (_RUN_DELAY), or by a long turn of its own.
5. Waking up, and the workers of that end waited for a core for _RUN_DELAY of the window: the machine is out of CPU.
6. Waking up, and they did not: cores that sleep take their time, which is what an idle machine costs.
7. The serve end's own code, the queueing discipline, the network, the peer: what each of them means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from loadkit.report.kernel import STOLEN
from loadkit.report.record import RunRecord, Wakeups, WorkerRecord
from loadkit.units import format_ratio

__all__ = ["diagnose"]

# Parts of the time of the slowest messages: from which on a cause is the cause, and from which on the causes are all.
_DOMINATES, _MOSTLY = 0.4, 0.9
# Parts of the window: a worker waited for a core that long; a loop that is busy for less was not what was waited for.
_RUN_DELAY, _BUSY = 0.05, 0.5


class _End(NamedTuple):
    """One end of a run, with what it says of its own waiting."""

    record: RunRecord
    workers: Sequence[WorkerRecord]
    wakeups: Wakeups | None

    @property
    def run_delay(self) -> float:
        return max((worker.run_delay_share or 0.0 for worker in self.workers), default=0.0)

    @property
    def busy(self) -> float:
        """The busiest worker's share; 1 if no worker was counted, for then nothing speaks against its loop."""
        return max((worker.busy_share for worker in self.workers if worker.busy_share is not None), default=1.0)


def _blast(record: RunRecord) -> _End:
    return _End(record, record.workers, record.wakeups)


def _serve(record: RunRecord) -> _End:
    server = record.server
    return _End(record, server.workers if server else (), server.wakeups if server else None)


def _loop(of: Callable[[RunRecord], _End], advice: str) -> Callable[[RunRecord], str]:
    """Returns what to say of a loop that messages waited for: `advice`, unless the loop had little to do."""

    def advise(record: RunRecord) -> str:
        end = of(record)
        return _interrupted(end) if end.busy < _BUSY else f"{_batch(end.wakeups)}: {advice}"

    return advise


def _interrupted(end: _End) -> str:
    stolen = end.record.kernel.cpu.get("steal", 0.0) if end.record.kernel else 0.0
    start = f", though it has little to do (busy {end.busy:.0%} of the time)"
    if stolen >= STOLEN:
        return f"{start}: the host took {stolen:.0%} of this machine's CPU time"
    if end.run_delay >= _RUN_DELAY:
        delay = f"{end.run_delay:.0%}"
        return f"{start}: other processes had its core for {delay} of the time; pin them elsewhere, or end them"
    return f"{start}: some of its turns are long; `wakeups.busy` in the record says how long"


def _batch(wakeups: Wakeups | None) -> str:
    if wakeups is None or wakeups.batch is None or wakeups.batch.mean is None:
        return ""
    return f" ({wakeups.batch.mean:.1f} events per wake-up)"


def _wake(of: Callable[[RunRecord], _End]) -> Callable[[RunRecord], str]:
    """Returns what to say of workers that messages waited for to wake up."""

    def advise(record: RunRecord) -> str:
        delay = of(record).run_delay
        if delay >= _RUN_DELAY:
            return (
                f", and its workers waited for a core for {delay:.0%} of the time: the machine is out of CPU; use "
                f"fewer workers than cores, or stop other work"
            )
        return (
            ", and no other process had its core: a sleeping core takes time to wake, longer in a virtual machine "
            "(idle states); a busier loop does not sleep"
        )

    return advise


def _always(advice: str) -> Callable[[RunRecord], str]:
    return lambda _record: f": {advice}"


class _Cause(NamedTuple):
    """Stages of a journey that have one cause, what it is, and what to do about it."""

    stages: tuple[str, ...]
    what: str
    advise: Callable[[RunRecord], str]


_CAUSES = (
    _Cause(
        ("serve_busy", "serve_batch"),
        "waiting, unread, for the serve end's loop",
        _loop(_serve, "one core does not keep up there; use more serve workers (-w), or fewer messages at once"),
    ),
    _Cause(("serve_wake",), "waking up the serve end", _wake(_serve)),
    _Cause(
        ("serve_code",),
        "the serve end's own code, from the read to the write",
        _always("large messages, a slow app or a slow write: see the serve end's CPU per reply"),
    ),
    _Cause(
        ("late", "busy", "batch"),
        "waiting for the blast end's loop",
        _loop(
            _blast,
            "the generator does not keep up, not the target; give blast more cores (-w), or lower the rate",
        ),
    ),
    _Cause(("wake",), "waking up the blast end", _wake(_blast)),
    _Cause(
        ("queue",),
        "the queueing discipline of the blast end's kernel",
        _always("see `tc -s qdisc`, and what else sends"),
    ),
    _Cause(
        ("send", "there", "back", "network", "read"),
        "TCP/IP and the network",
        _always("see the kernel's findings, softirq time and retransmissions"),
    ),
    _Cause(
        ("peer",),
        "the network and the peer",
        _always("`loadkit serve` in its place, or a packet capture there, tells the two apart"),
    ),
)


def diagnose(record: RunRecord) -> str | None:
    """Says what the slowest messages spent their time with, and what to do; None if there are too few of them."""
    journey = record.journey
    if journey is None or journey.slowest_shares is None or not journey.slowest_count:
        return None
    found = [(sum(journey.slowest_shares.get(stage, 0.0) for stage in cause.stages), cause) for cause in _CAUSES]
    known = sum(share for share, _cause in found)
    if not known:
        return None
    (first, cause), (second, other), *_ = sorted(found, key=lambda one: -one[0])
    first, second = first / known, second / known
    part = f"{format_ratio(100 * journey.slowest_count / journey.count)}%"
    if first < _DOMINATES:
        return f"nothing dominates the slowest {part}: {first:.0%} is {cause.what}, {second:.0%} is {other.what}"
    time = "time under way" if known < _MOSTLY else "time"  # what it was held before that, the table says
    return f"{first:.0%} of the {time} of the slowest {part} is {cause.what}{cause.advise(record)}"
