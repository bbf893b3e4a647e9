"""The panel of `--live`: what a screen is to show of a run, as lines of text; what draws them is live_screen.py."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from loadkit.cli.heat import Look, bar, binned, heat_strip, sparkline
from loadkit.measure.histogram import Histogram
from loadkit.plan.phases import PhaseKind
from loadkit.printable import printable, wrapped
from loadkit.report.advice import advise
from loadkit.report.slo import parse_slo
from loadkit.report.summary import slo_value
from loadkit.units import NS_PER_S, format_count, format_duration, format_rate, plural

if TYPE_CHECKING:
    from loadkit.measure.series import IntervalSample
    from loadkit.plan.build import Plan
    from loadkit.report.record import RunRecord, SloRecord
    from loadkit.run.blast import Progress
    from loadkit.run.crew import WorkerTotals

__all__ = ["Judged", "Panel"]

_SECONDS = 600  # wider than any terminal
_MOST_OBJECTIVES, _MOST_ERRORS, _MOST_WORKERS = 3, 3, 4
_LEAST_HEAT, _MOST_HEAT = 3, 12
_LABEL = 10  # columns before a heat strip, a sparkline or a bar
_BAR = 20
_LEAST_HEIGHT = 20  # from which on a verdict may have a second line
_STATES = {"valid": "bold green", "suspect": "bold yellow", "invalid": "bold red"}
_PERCENTILES = (50.0, 99.0, 99.9)


class Judged(NamedTuple):
    """What the run came to a moment ago: the record as if it had ended then (monotonic ns)."""

    record: RunRecord
    at_ns: int


class _Second(NamedTuple):
    """A second of the run."""

    replies: float
    opened: float
    heat: Sequence[int]


class Panel:
    """Takes note of each look, and says what a screen of a size is to show."""

    def __init__(
        self, plan: Plan, look: Look, keys: str = "q stops", clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._plan = plan
        self._look = look
        self._keys = keys
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=_SECONDS)
        self._row: IntervalSample | None = None
        self._last = self._measured = Histogram.empty(plan.load.highest_ns)
        self._pictured: tuple[IntervalSample | None, int, int] = (None, 0, 0)
        self._drawn: list[Text] = []
        self._before: Mapping[str, WorkerTotals] = {}
        self._busy: Mapping[str, tuple[float, float]] = {}  # of each worker: the busy share, and events per wake-up
        self._thresholds = [slo.bound for slo in map(parse_slo, plan.given.slo) if slo.figure.time == "latency"]

    def note(self, progress: Progress) -> None:
        """Takes note of what a look shows; of a second that is over there is a column from then on."""
        row = progress.interval
        if row is None or row is self._row:
            return
        self._row = row
        self._last = Histogram.empty(self._plan.load.highest_ns)
        if row.latency.hdr:
            self._last = Histogram.decode(row.latency.hdr, row.latency.sum)
        if self._plan.load.phases[row.phase].kind is PhaseKind.HOLD:
            self._measured = self._measured.merge(self._last)
        span_s = max(1, row.t_ns - row.from_ns) / NS_PER_S
        self._seconds.append(_Second(row.replied / span_s, row.opened / span_s, binned(self._last)))
        now = {f"blast {index}": totals for index, totals in enumerate(progress.workers)}
        now |= {f"serve {index}": totals for index, totals in enumerate(progress.serving)}
        self._busy = {name: _busy(self._before[name], totals) for name, totals in now.items() if name in self._before}
        self._before = now

    def lines(self, progress: Progress, judged: Judged | None, width: int, height: int) -> list[Text]:
        """Returns `height` lines of at most `width` columns.

        What has no room is left out, from the bottom up; the verdict is on the second line.
        """
        record = judged.record if judged else None
        head = [self._title(progress, width), *self._verdict(judged, width, 2 if height >= _LEAST_HEIGHT else 1)]
        head += [*self._figures(progress, record), *_objectives(record)]
        foot = [*self._workers(width), *_errors(progress)]
        pictures = self._pictures(width, height - len(head) - len(foot))
        lines = [*head, *pictures, *foot][:height]
        for line in lines:
            line.truncate(width, overflow="ellipsis" if self._look.has_blocks else "crop")
        return lines + [Text("", end="")] * (height - len(lines))

    def _pictures(self, width: int, room: int) -> list[Text]:
        """Returns the strip and the sparklines; they are drawn anew when a second is over, or the size is another."""
        key = (self._row, width, room)
        if key != self._pictured:
            columns = list(self._seconds)[-max(1, width - _LABEL) :]
            self._drawn = self._sparks(columns)
            rows = min(room - len(self._drawn), _MOST_HEAT)
            if columns and rows >= _LEAST_HEAT:
                heat = [one.heat for one in columns]
                self._drawn = [*heat_strip(heat, rows, self._look, self._thresholds), *self._drawn]
            self._pictured = key
        return self._drawn

    def _title(self, progress: Progress, width: int) -> Text:
        title = f"loadkit  {printable(progress.phase)}"
        if progress.left_ns is not None:
            title += f", {format_count(-(-progress.left_ns // NS_PER_S))} s left"
        room = max(0, width - len(self._keys))
        return Text.assemble((title[:room].ljust(room), "bold"), (self._keys, "dim"))

    def _verdict(self, judged: Judged | None, width: int, rows: int) -> list[Text]:
        if judged is None:
            return [Text("no verdict before the measured time has begun", "dim")]
        verdict = judged.record.verdict
        age_s = max(0, self._clock() - judged.at_ns) // NS_PER_S
        why = "".join(f"; {reason.code}: {printable(reason.text)}" for reason in verdict.reasons)
        text = f"so far {verdict.state}{f', {age_s} s ago' if age_s else ''}{why}"
        lines = [Text(line) for line in wrapped(text, width)]
        if len(lines) > rows:
            lines[rows - 1 :] = [Text(" ".join(line.plain for line in lines[rows - 1 :]))]
        lines[0].highlight_words([verdict.state], _STATES[verdict.state])
        return lines

    def _figures(self, progress: Progress, record: RunRecord | None) -> Iterator[Text]:
        since = record.rates.replies_per_s if record else None
        mean = "" if since is None else f", {format_rate(since)} measured"
        yield Text(f"asked {self._asked(progress)}, now {format_rate(progress.replies_per_s)} replies{mean}")
        yield Text.assemble(
            f"open {format_count(progress.open)} of {format_count(progress.asked)}, "
            f"{plural(progress.under_way, 'message')} under way, ",
            (plural(progress.errors, "error"), "bold red" if progress.errors else ""),
        )
        yield Text(f"latency   {_times(self._last)}  last second")
        if self._measured.count:
            yield Text(f"          {_times(self._measured)}  measured time", "bold")

    def _asked(self, progress: Progress) -> str:
        phase = next(one for one in self._plan.load.phases if one.name == progress.phase)
        if phase.rate_hz is None:
            return self._asked_without_rate()
        low, high = phase.rate_hz
        asked = format_rate(low) if low == high else f"{format_rate(low)} to {format_rate(high)}"
        return f"{asked}, Poisson" if self._plan.load.is_random else asked

    def _asked_without_rate(self) -> str:
        load = self._plan.load
        if load.think:
            return f"pauses of {load.think}"
        return "no rate in this phase" if load.open_loop else "one message after the other"

    def _sparks(self, columns: Sequence[_Second]) -> list[Text]:
        if not columns:
            return []
        rows = (("replies/s", [one.replies for one in columns]), ("opened/s", [one.opened for one in columns]))
        return [Text.assemble(f"{name:<{_LABEL}}", (sparkline(values, self._look), "cyan")) for name, values in rows]

    def _workers(self, width: int) -> list[Text]:
        cells = [
            f"{name:<{_LABEL}}{bar(share, _BAR, self._look)} {share:4.0%} busy, {each:.1f} events per wake-up"
            for name, (share, each) in self._busy.items()
        ]
        a_row = max(1, (width + 3) // (max(map(len, cells), default=1) + 3))
        rows = [cells[at : at + a_row] for at in range(0, len(cells), a_row)]
        if len(rows) <= _MOST_WORKERS:
            return [Text("   ".join(row)) for row in rows]
        rest = list(self._busy.values())[(_MOST_WORKERS - 1) * a_row :]
        more = f"and {plural(len(rest), 'worker')} more, the busiest {max(rest)[0]:.0%} busy"
        return [*(Text("   ".join(row)) for row in rows[: _MOST_WORKERS - 1]), Text(more)]


def _busy(before: WorkerTotals, now: WorkerTotals) -> tuple[float, float]:
    busy, blocked = now.busy_ns - before.busy_ns, now.blocked_ns - before.blocked_ns
    wakeups = now.wakeups - before.wakeups
    each = (now.events - before.events) / wakeups if wakeups else 0.0
    return max(0.0, busy / (busy + blocked)) if busy + blocked > 0 else 0.0, each


def _times(histogram: Histogram) -> str:
    found = histogram.percentiles(_PERCENTILES)
    times = [f"p{name:g} {format_duration(ns) if ns is not None else '-'}" for name, ns in found.items()]
    return "  ".join([*times, f"max {format_duration(histogram.max_ns) if histogram.count else '-'}"])


def _objectives(record: RunRecord | None) -> list[Text]:
    # Those that are missed come first: there may be more than there is room for.
    slos = sorted(record.slo if record else (), key=lambda slo: slo.ok)
    lines = [Text.assemble(_met(slo), f"{printable(slo.expr)}  ({printable(slo_value(slo))})") for slo in slos]
    if len(lines) > _MOST_OBJECTIVES:
        more = len(lines) - _MOST_OBJECTIVES + 1
        lines[_MOST_OBJECTIVES - 1 :] = [Text(f"and {more} more objectives", "dim")]
    return lines


def _met(slo: SloRecord) -> tuple[str, str]:
    if slo.ok:
        return "SLO met     ", "green"
    return ("SLO open    ", "dim") if _may_be_met(slo) else ("SLO missed  ", "bold red")


def _may_be_met(slo: SloRecord) -> bool:
    """Whether there are too few values yet, or the figure is a count, which grows."""
    if slo.value is None:
        return not (slo.reason or "").startswith("never")
    objective = parse_slo(slo.expr)
    return objective.figure.unit.name == "count" and slo.value < objective.bound


def _errors(progress: Progress) -> list[Text]:
    kinds = sorted(progress.kinds.items(), key=lambda kind: -kind[1])
    lines = [
        Text.assemble((f"{format_count(count)} x {step} {name}", "red"), f": {advise(step, name, is_serve=False)}")
        for (step, name), count in kinds[:_MOST_ERRORS]
    ]
    if len(kinds) > _MOST_ERRORS:
        lines[-1] = Text(f"and {len(kinds) - _MOST_ERRORS + 1} more kinds of errors", "red")
    return lines
