"""Decides what is said to the crew next, from looks alone: without a clock, a process or shared memory.

    FIRST --the first connection has its reply--> RAMP --all have opened or failed--> OPENED --at once--> HOLD
      |
      +--it has no right reply--> FAILED

A stop (a signal, a dead worker, no connection left) can come in each stage. The course decides nothing that a worker
can decide: a worker that receives no more words still ends its plan.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence

from loadkit.engine.base import STOP_NS
from loadkit.measure.run_samples import AbortSample
from loadkit.measure.samples import WorkerSamples
from loadkit.plan.build import Plan
from loadkit.plan.phases import PhaseKind
from loadkit.report.conditions import parse_condition
from loadkit.run.abort import Conditions, Span
from loadkit.run.alone import Alone
from loadkit.run.crew import Look, Word, Words, closing_ns
from loadkit.run.ramp import Ramp
from loadkit.units import NS_PER_S

__all__ = ["LOOK_NS", "Course", "Stage", "stranded_at_ns"]

LOOK_NS = NS_PER_S // 10
# Words are sent this long before the time they name, so that every worker has received them by then.
_AHEAD_NS = 50_000_000
_AHEAD_A_WORKER_NS = 5_000_000
_FIRST_AHEAD_NS = 10_000_000  # only one worker has to receive it
# In the ramp and before it, the next look comes after a twentieth of the time that has passed, within these limits. So
# each tenth of a ramp has two looks, however short the ramp is.
_RAMP_LOOKS, _LEAST_RAMP_LOOK_NS, _RAMP_LOOK_NS = 20, NS_PER_S // 200, NS_PER_S // 20
# A time-out is found at most this part of it later.
_TIMEOUT_LATE = 64
# A worker that has not ended this long after the plan's own time is told to leave.
_PATIENCE_NS = 5 * NS_PER_S
# If a look comes this much later than requested, this process was stopped.
_STOOD_NS = NS_PER_S // 2
# With -d a run goes on for this long after its last connection is gone. What falls due in it is counted as unsent.
_STRANDED_NS = 2 * NS_PER_S


class Stage(enum.Enum):
    """How far a run has come."""

    FIRST = "first"  # waits for the reply to its first connection
    FAILED = "failed"  # … which was wrong, or did not come
    RAMP = "ramp"
    OPENED = "opened"  # the ramp is over; what the connections take is measured
    HOLD = "hold"  # the workers know when the phases after the ramp begin


class Course:
    """A run under way, as its looks show it. Times are monotonic ns.

    `next_ns` is when it wants the next look. `start_ns` is when the first connection opens, `ramp` is None until that
    had a right reply, `window` until the ramp is over, `stop_ns` until something ends the run early, `aborted` unless
    that is one of its conditions, `stranded_ns` unless that is the end of the last connection while others were due.
    """

    def __init__(self, plan: Plan, now: int) -> None:
        self.start_ns = now + _FIRST_AHEAD_NS
        self.stage = Stage.FIRST
        self.ramp: Ramp | None = None
        self.window: tuple[int, int] | None = None
        self.stop_ns: int | None = None
        self.aborted: AbortSample | None = None
        self.stranded_ns: int | None = None
        self.end_ns = self.start_ns
        self.next_ns = now
        self.is_over = False
        self._load = plan.load
        self._workers = plan.here.workers
        self._alone = Alone(plan.load)
        self._conditions = Conditions([parse_condition(text) for text in plan.given.abort_on], plan.load)
        self._ramp_end_ns: int | None = None
        self._hold_ns: int | None = None
        self._passed = 0  # edges of the window
        self._stood_ns = 0  # how long we were not let run since the ramp, or the hold, was begun
        self._stood_stopping_ns = 0  # … since the stop

    def begin(self) -> Word:
        """Returns the first word."""
        return Word(Words.FIRST, self.start_ns)

    def decide(self, look: Look, now: int, signals: int = 0) -> list[Word]:
        """Returns what to say after a look. `signals` is how many signals have come so far."""
        # The workers may have been stopped with us, by a debugger, a pause of the container or a lid.
        stood_ns = now - self.next_ns if now - self.next_ns > _STOOD_NS else 0
        self._stood_ns += stood_ns
        self._stood_stopping_ns += stood_ns
        words: list[Word] = []
        if self.stop_ns is None:
            words = self._stop(now) if signals or _is_broken(look) else self._go_on(look, now)
        words += self._pass_edges(look, now)
        if self.ramp:
            self._alone.note(look, now, stood_ns)
        if self.stop_ns is None and self._is_stranded(look, now):
            words += self._stop(now)
        words += self._judge(look, now)
        self.is_over = self.stage is Stage.FAILED or not look.running or signals > 1 or now > self._give_up_ns()
        self.next_ns = self._next_look(now)
        return words

    def close(self, look: Look, end_ns: int) -> list[Word]:
        """Returns what is left to say when the last worker has ended, which was at `end_ns`."""
        self.end_ns = end_ns
        return self._pass_edges(look, end_ns)

    def _judge(self, look: Look, now: int) -> list[Word]:
        """Ends the run if one of its conditions is met, as long as there is something to be ended."""
        is_done = look.finished_ns or (self.window and now >= self.window[1])
        if look.seen is None or self.stop_ns is not None or is_done:
            return []
        self.aborted = self._conditions.judge(look.seen, self._spans(now), now)
        return self._stop(now) if self.aborted else []

    def _is_stranded(self, look: Look, now: int) -> bool:
        """Whether no connection is open, and none is worth waiting for."""
        if look.stranded_ns:
            return now > look.stranded_ns + _STRANDED_NS
        if not look.finished_ns and self._alone.is_for_good(self.stage is Stage.RAMP):
            self.stranded_ns = self._alone.since_ns
        return self.stranded_ns is not None

    def _stop(self, now: int) -> list[Word]:
        self.stop_ns, self._stood_stopping_ns = now, 0
        # Before the ramp there is nothing to end gently, and the first reply may take as long as --timeout.
        return [Word(Words.STOP if self.ramp else Words.LEAVE)]

    def _go_on(self, look: Look, now: int) -> list[Word]:
        if self.stage is Stage.FIRST:
            return self._after_first(look, now)
        if self.stage is Stage.RAMP and self.ramp:
            return self._ramp_on(self.ramp, look, now)
        if self.stage is Stage.OPENED:
            self.stage, self._stood_ns = Stage.HOLD, 0
            self._hold_ns = now + self._ahead_ns()
            self.window = self._planned_window(self._hold_ns)
            return [Word(Words.HOLD, self._hold_ns)]
        return []

    def _after_first(self, look: Look, now: int) -> list[Word]:
        if look.proof == "failed":
            self.stage = Stage.FAILED
        if look.proof != "right":
            return []
        self.stage, self._stood_ns = Stage.RAMP, 0
        self.ramp = Ramp(self._load.phases[0].connections, now + self._ahead_ns())
        return [Word(Words.RAMP, self.ramp.start_ns)]

    def _ramp_on(self, ramp: Ramp, look: Look, now: int) -> list[Word]:
        had_room = ramp.stopped is None
        ramp.note(look, now)
        words = [Word(Words.ENOUGH)] if had_room and ramp.stopped is not None else []
        if ramp.is_over(look, now) or now > self._ramp_limit_ns() + self._stood_ns:
            self.stage = Stage.OPENED
            self._ramp_end_ns = max(ramp.start_ns, look.settled_ns)
            words.append(Word(Words.OPENED))
        return words

    def _pass_edges(self, look: Look, now: int) -> list[Word]:
        """Returns the edges of the window that were passed since. The window ends early if no worker has traffic."""
        words: list[Word] = []
        while self.window and self._passed < len(self.window):
            is_begun = self._passed > 0
            if now < self.window[self._passed] and not (is_begun and look.finished_ns):
                break
            words.append(Word(Words.END if is_begun else Words.BEGIN))
            self._passed += 1
        return words

    # -- how long things may take

    def _ahead_ns(self) -> int:
        return _AHEAD_NS + self._workers * _AHEAD_A_WORKER_NS

    def _next_look(self, now: int) -> int:
        if self.stage is Stage.OPENED and self.stop_ns is None:
            return now
        if self.stage is not Stage.HOLD:
            passed = now - (self.ramp.start_ns if self.ramp else self.start_ns)
            return now + min(_RAMP_LOOK_NS, max(_LEAST_RAMP_LOOK_NS, passed // _RAMP_LOOKS))
        return min([now + LOOK_NS, *(edge for edge in self.window or () if edge > now)])

    def _first_limit_ns(self) -> int:
        """By then the first connection has had its reply, has failed or has timed out."""
        return self.start_ns + self._settling_ns()

    def _settling_ns(self) -> int:
        """How long a connection may take to have its first reply, or to fail, if this machine keeps up."""
        longest = self._load.connect_timeout_ns + self._load.timeout_ns
        return longest + longest // _TIMEOUT_LATE + NS_PER_S

    def _ramp_limit_ns(self) -> int:
        """By then every connection of the ramp has been begun and has had its reply, failed or timed out."""
        begin = self.ramp.start_ns if self.ramp else self._first_limit_ns()
        return begin + 2 * self._load.phases[0].duration_ns + self._settling_ns()

    def _give_up_ns(self) -> int:
        if self.ramp is None and self.stop_ns is None:
            return self._first_limit_ns() + _PATIENCE_NS + self._stood_ns
        begin = self._hold_ns or self._ramp_limit_ns()
        traffic = begin + sum(phase.duration_ns for phase in self._load.phases[1:]) + self._stood_ns
        if self.stop_ns is not None:
            traffic = min(traffic, self.stop_ns + STOP_NS + self._stood_stopping_ns)
        return traffic + closing_ns(_PATIENCE_NS, self._load.connections)

    def _planned_window(self, begin: int) -> tuple[int, int]:
        """From the first measured phase's start to the last one's end."""
        edges = []
        for phase in self._load.phases[1:]:
            if phase.kind is PhaseKind.HOLD:
                edges += [begin, begin + phase.duration_ns]
            begin += phase.duration_ns
        return min(edges), max(edges)

    def _spans(self, now: int) -> dict[int, Span]:
        """Returns when those phases that have a beginning do begin and end, by their numbers."""
        spans = {0: (self.ramp.start_ns, self._ramp_end_ns or now)} if self.ramp else {}
        if self._hold_ns:
            ends = itertools.accumulate((phase.duration_ns for phase in self._load.phases[1:]), initial=self._hold_ns)
            spans |= dict(enumerate(itertools.pairwise(ends), 1))
        return spans

    def left_ns(self, now: int) -> int | None:
        """Returns the time until the end of the measured time, as it is planned: the ramp may take longer.

        None if --messages alone ends the run in a closed loop: that takes as long as the replies do.
        """
        span_ns = self._load.messages_span_ns if self._load.is_endless else None
        if span_ns == 0:
            return None
        begin, ramp_ns = self.ramp.start_ns if self.ramp else self.start_ns, self._load.phases[0].duration_ns
        start, end = self.window or self._planned_window(max(now, begin + ramp_ns))
        return max(0, (end if span_ns is None else min(end, start + span_ns)) - now)

    # -- afterwards

    def actual_window(self, workers: Sequence[WorkerSamples]) -> tuple[int | None, int | None]:
        """Returns the planned window, cut where the last worker ended its traffic: by a signal or a death.

        One that --messages ended is over with the last reply, or when so many take that long at the rate asked for;
        at random arrivals the last of them is due when it is.
        """
        if self.window is None or self.end_ns <= self.window[0]:
            return None, None
        last = self.traffic_end_ns(workers)
        if self._is_spent(workers):
            replied = max(worker.state["replied_ns"] for worker in workers)
            span_ns = 0 if self._load.is_random else self._load.messages_span_ns or 0
            last = max(self.window[0] + span_ns, replied)
        if last <= self.window[0]:
            return None, None
        return self.window[0], min(self.window[1], last)

    def traffic_end_ns(self, workers: Sequence[WorkerSamples]) -> int:
        """Returns when the last worker was done with its traffic.

        One that died or hung does not say; what it was waited for after a stop is not traffic.
        """
        finished = [worker.state["finished_ns"] for worker in workers]
        return max(finished) if all(finished) else self.stop_ns or self.end_ns

    def _is_spent(self, workers: Sequence[WorkerSamples]) -> bool:
        """Whether the last of --messages fell due before anything else ended the run."""
        if self._load.messages is None or self.stop_ns is not None or stranded_at_ns(workers) is not None:
            return False
        holds = [at for at, phase in enumerate(self._load.phases) if phase.kind is PhaseKind.HOLD]
        intended = sum(worker.phases[at].counters["intended"] for worker in workers for at in holds)
        return intended >= self._load.messages


def stranded_at_ns(workers: Sequence[WorkerSamples]) -> int | None:
    """Returns when the last connection of the run was gone; None where some worker had one to its end."""
    since = [worker.state["stranded_ns"] for worker in workers]
    return max(since) if all(since) else None


def _is_broken(look: Look) -> bool:
    """Whether what follows would not be the run that was asked for: a worker's share, or the serve end, is missing."""
    return look.has_deaths or not look.is_served
