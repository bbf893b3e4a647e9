"""The command that makes sense after a run: the same one with one change, or one that finds out what is wrong.

_RULES are tried in order, and the first one with an answer decides. The command repeats the options, the environment
and the profile of the run, except for what the suggestion is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loadkit.endpoint import place_of
from loadkit.errors import OptionError
from loadkit.measure.histogram import percentiles_supported, values_needed
from loadkit.plan.phases import PhaseKind
from loadkit.printable import shell_line
from loadkit.profile.spell import option_words
from loadkit.report.evidence import Evidence
from loadkit.report.figures import BYTES_PER_S, PER_S
from loadkit.report.record import RunRecord, SloRecord
from loadkit.report.selector import count_of_all
from loadkit.report.slo import Slo, parse_slo
from loadkit.units import NS_PER_S

__all__ = ["next_command"]

# Reasons and findings by which the rate was too high.
_TOO_FAST = {"saturated", "schedule-missed", "peer-behind", "rate-missed", "blast-bound"}
_CONNECTIONS = {"incomplete", "connections-missing", "exhausted"}
# Reasons of an invalid run that another rate does not change.
_FIX_FIRST = {"worker-died", "connections-lost", "cut-short", "does-not-add-up"}
# Reasons that say whose limit the rate was over, whatever else disturbed the run.
_OVER = {"saturated", "rate-missed"}
# Disturbances that may be over in the next run. The limit of this end, or shared cores, will still be there.
_PASSING = {"stood-still", "run-delay", "throttled"}
# If more than this part of the messages never came back, or had to wait for room, the rate was too high.
_BEHIND = 0.01
# So many times as many samples as a percentile needs leave some room.
_ROOM = 1.1
_RATES = (PER_S, BYTES_PER_S)
_AT_MOST = ("<", "<=", "!=")
_LONGEST_NS = 24 * 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class _Run:
    """A record, and the command that made it."""

    record: RunRecord

    @property
    def place(self) -> tuple[str, ...]:
        """The target as a word of a command line; empty if the server was embedded."""
        target = self.record.target
        return () if target.embedded else (place_of(target.host, target.port),)

    @property
    def codes(self) -> set[str]:
        reasons = {reason.code for reason in self.record.verdict.reasons}
        return reasons | {finding.code for finding in self.record.findings}

    @property
    def rates(self) -> list[tuple[float, float]]:
        """The rates of the measured phases, at the start and at the end of each; none in a closed loop."""
        phases = self.record.load.phases
        return [phase.rate_hz for phase in phases if phase.kind is PhaseKind.HOLD and phase.rate_hz]

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that were given as options."""
        given = self.record.given.options.get("slo", ())
        return given if isinstance(given, tuple) else ()

    @property
    def replies_hz(self) -> float:
        return self.record.rates.replies_per_s or 0.0

    @property
    def missed(self) -> list[SloRecord]:
        return [slo for slo in self.record.slo if not slo.ok]

    def can_have(self, option: str) -> bool:
        """Whether the option can be given: not if the profile sets it for each phase."""
        return option not in self.record.given.phased

    @property
    def is_invalid(self) -> bool:
        return self.record.verdict.state == "invalid"

    def is_behind(self) -> bool:
        """Whether the rate was higher than one of the two ends could follow."""
        if self.is_invalid or self.codes & (_TOO_FAST | _PASSING):  # what disturbed a run made messages wait too
            return bool(self.codes & _TOO_FAST)
        messages = self.record.messages
        waited = Evidence(self.record).messages.waited_for_target
        return max(messages.intended - messages.replied, waited) > _BEHIND * messages.intended

    def again(self, output: str, **changes: Any) -> str:
        """Returns the same command with other options; with the same ones, and the same random values."""
        options = {**self.record.given.options, **changes}
        if not changes and self.record.load.seed is not None:
            options["seed"] = str(self.record.load.seed)
        profile = self.record.given.profile
        words = [*(("--profile", profile) if profile else ()), *option_words(options), "-o", output]
        return self.command(["blast"], words)

    def command(self, command: Sequence[str], options: Sequence[str] = ()) -> str:
        """Returns a command against the same target; one that begins with a dash would be read as an option."""
        if any(word.startswith("-") for word in self.place):
            return shell_line(["loadkit", *command, *options, "--", *self.place])
        return shell_line(["loadkit", *command, *self.place, *options])

    def at_rate(self, rate_hz: float, output: str) -> str:
        """Returns the same command at another rate, without objectives that this rate cannot meet."""
        changes: dict[str, Any] = {"rate": _rate_text(rate_hz)}
        kept = [text for text in self.objectives if not _is_out_of_reach(text, rate_hz, self.record.load.size_bytes)]
        return self.again(output, **changes, slo=tuple(kept))


Rule = Callable[[_Run], tuple[str, str] | None]


def next_command(record: RunRecord) -> tuple[str, str]:
    """Returns the command that makes the most sense after the run, quoted for a shell, and what it is for."""
    run = _Run(record)
    return next(found for rule in _RULES if (found := rule(run)))


def _connections(run: _Run) -> tuple[str, str] | None:
    """If something stopped the connections, the doctor has the calculation. A few missing ones are only a finding."""
    reasons = {reason.code for reason in run.record.verdict.reasons}
    was_stopped = "exhausted" in reasons or any(row.step == "connect" for row in run.record.errors)
    if not (reasons & _CONNECTIONS and was_stopped):
        return None
    source = option_words({"source": run.record.given.options.get("source", ())})
    return run.command(["doctor", "-c", str(run.record.load.connections), *source]), "what stops the connections"


def _fix_first(run: _Run) -> tuple[str, str] | None:
    if run.is_invalid and (run.codes & _FIX_FIRST or (run.codes & _PASSING and not run.codes & _OVER)):
        return run.again("run.json"), "the same, once the reason above is gone"
    return None


def _partial(run: _Run) -> tuple[str, str] | None:
    return (run.again("run.json"), "the same, to its end") if run.record.partial else None


def _aborted(run: _Run) -> tuple[str, str] | None:
    """A run that --abort-on ended would end there again."""
    if not run.record.aborted:
        return None
    return _lower(run, "does a lower rate last?") if run.rates else _closer(run)


def _silent(run: _Run) -> tuple[str, str] | None:
    if not run.is_invalid or run.record.messages.replied or not run.place or not run.record.load.echoes:
        return None
    return run.command(["ping"]), "does it echo at all?"


def _too_fast(run: _Run) -> tuple[str, str] | None:
    return _lower(run, "a rate that both ends can keep") if run.rates and run.is_behind() else None


def _disturbed(run: _Run) -> tuple[str, str] | None:
    """A disturbed run: a rate that is derived from its figures would be wrong."""
    if run.is_invalid:
        return run.again("run.json"), "the same, once the reason above is gone"
    if run.record.verdict.state == "suspect" and (run.rates or run.codes & _PASSING):
        return run.again("run.json"), "the same, when nothing disturbs it"
    return None


def _missed_objectives(run: _Run) -> tuple[str, str] | None:
    if not run.missed:
        return None
    known = [_find_slo(row) for row in run.missed]
    if all(slo and _needed(run.record, slo) for slo in known):
        return _longer(run, [slo for slo in known if slo])
    are_rates = all(slo and slo.figure.unit in _RATES for slo in known)
    if not are_rates and all(slo and slo.figure.about == "connects" for slo in known):
        return _slower_connects(run)
    if not run.rates:
        return None  # the rule for closed loops suggests a lower rate as well
    if are_rates:
        return _closer(run)
    return _lower(run, "the objectives at a lower rate")


def _closed(run: _Run) -> tuple[str, str] | None:
    if run.rates:
        return None
    # It is no measure of what the target can do.
    if run.record.load.think is not None:
        return _closer(run)
    # A connection that closes after each exchange keeps no schedule.
    if not run.can_have("rate") or run.record.load.lifetime_ns == 0 or not run.replies_hz:
        return _closer(run)
    return run.at_rate(_two_digits(run.replies_hz / 2), "open.json"), "latency at half of this rate"


def _kept(run: _Run) -> tuple[str, str]:
    """An open loop that kept its schedule and met its objectives."""
    if not run.can_have("rate"):
        return _closer(run)
    low, high = min(map(min, run.rates)), max(map(max, run.rates))
    if low != high:
        return run.at_rate(high, "flat.json"), "does it hold at the highest rate of the ramp?"
    return run.at_rate(2 * high, "higher.json"), "does it hold at twice the rate?"


_RULES: tuple[Rule, ...] = (
    _connections,
    _fix_first,
    _aborted,
    _partial,
    _silent,
    _too_fast,
    _disturbed,
    _missed_objectives,
    _closed,
    _kept,
)


def _lower(run: _Run, what_for: str) -> tuple[str, str]:
    """Half of the requested rate, or of the achieved one if that is lower; after a ramp, the achieved rate, flat."""
    if not run.can_have("rate"):
        return _closer(run)
    low, high = min(map(min, run.rates)), max(map(max, run.rates))
    achieved = min(run.replies_hz or high, high)
    if low != high:
        return run.at_rate(_two_digits(achieved), "flat.json"), "a flat rate: what this run achieved on average"
    return run.at_rate(_two_digits(achieved / 2), "lower.json"), what_for


def _slower_connects(run: _Run) -> tuple[str, str] | None:
    """Not in churn: connections open as fast as they close there, and --connect-rate is of the first ones alone."""
    achieved = run.record.rates.connects_per_s
    if not achieved or run.record.load.lifetime_ns is not None:
        return None
    rate = _rate_text(_two_digits(achieved / 2))
    return run.again("slower.json", connect_rate=rate), "the objectives at half the rate of connects"


def _longer(run: _Run, objectives: list[Slo]) -> tuple[str, str]:
    """A run with enough samples for the percentiles that this one does not support."""
    more = _ROOM * max(_needed(run.record, slo) / count_of_all(run.record, slo.selector) for slo in objectives)
    what_for = "enough samples for the objectives"
    messages, window = run.record.load.messages, run.record.window
    if messages:
        return run.again("longer.json", messages=str(math.ceil(more * messages))), what_for
    span_ns = more * window.measured_ns if window else _LONGEST_NS
    if not run.can_have("duration") or span_ns >= _LONGEST_NS:
        return run.again("again.json"), "as many samples again: `loadkit report` adds records up"
    return run.again("longer.json", duration=f"{math.ceil(span_ns / NS_PER_S)}s"), what_for


def _closer(run: _Run) -> tuple[str, str]:
    """The same load with a journey; if the run had one, the same run again."""
    if run.record.load.journey:
        return run.again("again.json"), "does it come to the same again?"
    return run.again("journey.json", journey=True), "where the time of a message goes"


def _find_slo(row: SloRecord) -> Slo | None:
    try:
        return parse_slo(row.expr)
    except OptionError:
        return None  # a later loadkit wrote it


def _needed(record: RunRecord, slo: Slo) -> int:
    """Returns how many samples its percentile needs; 0 if there are enough, or none at all."""
    percentile, count = slo.figure.percentile, count_of_all(record, slo.selector)
    if percentile is None or not count or percentiles_supported(count, percentile):
        return 0
    return values_needed(percentile)


def _is_out_of_reach(text: str, rate_hz: float, size_bytes: int) -> bool:
    """Whether an objective asks for more per second than a schedule of this rate sends."""
    slo = _find_slo(SloRecord(text, None, False))
    if slo is None or slo.figure.unit not in _RATES or slo.figure.about == "connects" or slo.compare in _AT_MOST:
        return False
    most = rate_hz * (size_bytes if slo.figure.unit is BYTES_PER_S else 1)
    return slo.bound > most or (slo.compare == ">" and slo.bound == most)


def _two_digits(rate_hz: float) -> float:
    """Rounds down to two digits: 6,172 to 6,100."""
    if not rate_hz:
        return 0.0
    digits = math.floor(math.log10(rate_hz)) - 1
    return math.floor(rate_hz / 10.0**digits) * 10.0**digits


def _rate_text(rate_hz: float) -> str:
    return f"{rate_hz:.9f}".rstrip("0").rstrip(".")
