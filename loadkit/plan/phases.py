"""A profile, to the phases of a run. A schedule that cannot work is refused here, with the arithmetic."""

from __future__ import annotations

import enum
import math

import msgspec

from loadkit.errors import OptionError, ProfileError
from loadkit.profile.blast import LONGEST_RUN, Arrivals, PhaseSpec, Profile
from loadkit.units import NS_PER_S, Duration, format_count, format_duration, format_rate

__all__ = ["PhaseKind", "PhasePlan", "connect_rate_of", "phases_of"]

# Up to 10k/s one uvloop worker keeps up, and the connect histogram shows the peer and the kernel. Many connections open
# within 5 s, or at 20k/s, which is what two cores reach with both ends.
DEFAULT_CONNECT_HZ, MOST_DEFAULT_CONNECT_HZ = 10_000.0, 20_000.0
DEFAULT_RAMP_S = 5.0

# All phases together are as long as one --duration may be (units.py): up to there every time is exact as a float.
LONGEST_NS = 2**53
_DAY_NS = 24 * 3600 * NS_PER_S

DEFAULT_DURATION = Duration.parse("10s")
DEFAULT_WARMUP = Duration.parse("2s")


class PhaseKind(enum.StrEnum):
    """What a phase is for. Only `hold` is measured; the others have figures of their own in the record."""

    RAMP = "ramp"
    WARMUP = "warm-up"
    HOLD = "hold"
    DRAIN = "drain"


class PhasePlan(msgspec.Struct, frozen=True):
    """A named part of the run.

    `connections` are those open at its end. `rate_hz` is (at the start, at the end), in messages per second over all
    connections; None is a closed loop. A ramp opens the first connections and sends one message on each: it lasts as
    long as that takes, and its `duration_ns` is what is planned.
    """

    name: str
    kind: PhaseKind
    duration_ns: int
    connections: int
    rate_hz: tuple[float, float] | None = None


def phases_of(profile: Profile) -> tuple[PhasePlan, ...]:
    """Returns the ramp that opens the first connections, what was asked, and the drain.

    Raises OptionError or ProfileError for what cannot work.
    """
    phases = _phases(profile)
    _check_loop(profile, phases)
    _check_messages(profile)
    return phases


def _phases(profile: Profile) -> tuple[PhasePlan, ...]:
    if profile.phases:
        for key in ("duration", "warmup"):
            if getattr(profile, key) is not None:
                raise ProfileError(f"{key}: each of the phases has a duration of its own; leave {key} out")
        asked = [_phase(spec, profile) for spec in profile.phases]
    else:
        first = DEFAULT_WARMUP if profile.messages is None else Duration(0)
        warmup = first if profile.warmup is None else profile.warmup
        whole = DEFAULT_DURATION if profile.messages is None else LONGEST_RUN
        hold = whole if profile.duration is None else profile.duration
        rate = (profile.rate[0], profile.rate[1]) if profile.rate else None
        asked = [PhasePlan("hold", PhaseKind.HOLD, int(hold), int(profile.connections), rate)]
        if warmup:
            flat = None if rate is None else (rate[0], rate[0])
            asked.insert(0, PhasePlan("warm-up", PhaseKind.WARMUP, int(warmup), int(profile.connections), flat))
    if not any(phase.kind is PhaseKind.HOLD for phase in asked):
        raise ProfileError("phases: no phase is measured; leave `measured = false` out of at least one")
    opened = asked[0].connections
    ramp = PhasePlan("ramp", PhaseKind.RAMP, round(opened / connect_rate_of(profile, opened) * NS_PER_S), opened)
    drain = PhasePlan("drain", PhaseKind.DRAIN, int(profile.timeout), asked[-1].connections)
    names = [phase.name for phase in (ramp, *asked, drain)]
    if len(set(names)) < len(names):
        raise ProfileError(
            f"phases: names must differ from one another and from ramp and drain: {', '.join(names[1:-1])}"
        )
    total_ns = sum(phase.duration_ns for phase in (ramp, *asked))
    if total_ns > LONGEST_NS:
        raise ProfileError(
            f"the run would last {total_ns / _DAY_NS:,.0f} days, {ramp.duration_ns / _DAY_NS:,.0f} of them to open its "
            f"connections; {LONGEST_NS // _DAY_NS} days is the most: shorter phases, or a higher --connect-rate"
        )
    return (ramp, *asked, drain)


def connect_rate_of(profile: Profile, connections: int) -> float:
    """Returns the connect rate per second; for --connect-rate max a guess, from which the ramp's length is planned."""
    if profile.connect_rate is not None and profile.connect_rate < math.inf:
        return float(profile.connect_rate)
    return min(MOST_DEFAULT_CONNECT_HZ, max(DEFAULT_CONNECT_HZ, connections / DEFAULT_RAMP_S))


def _phase(spec: PhaseSpec, profile: Profile) -> PhasePlan:
    rate = spec.rate or profile.rate
    return PhasePlan(
        name=spec.name,
        kind=PhaseKind.HOLD if spec.measured else PhaseKind.WARMUP,
        duration_ns=int(spec.duration),
        connections=int(spec.connections or profile.connections),
        rate_hz=(rate[0], rate[1]) if rate else None,
    )


def _check_loop(profile: Profile, phases: tuple[PhasePlan, ...]) -> None:
    asked = [phase for phase in phases if phase.kind in (PhaseKind.WARMUP, PhaseKind.HOLD)]
    paced = [phase for phase in asked if phase.rate_hz is not None]
    if paced and len(paced) < len(asked):
        missing = next(phase.name for phase in asked if phase.rate_hz is None)
        raise ProfileError(
            f"phases: {missing} has no rate while {paced[0].name} has one; an open loop and a closed one cannot be "
            f"mixed in a run: give every phase a rate, or no phase"
        )
    held = [phase for phase in paced if phase.kind is PhaseKind.HOLD]
    if held and not any(sum(phase.rate_hz or ()) for phase in held):
        if profile.phases:
            raise ProfileError("phases: the measured ones all have rate 0 and send nothing; give one of them a rate")
        raise OptionError("--rate 0 sends nothing; give a rate, or leave it out for a closed loop")
    if profile.arrivals is Arrivals.EXP and not paced:
        raise OptionError("--arrivals exp needs a --rate: in a closed loop the replies decide when messages go out")
    if profile.think is not None:
        _check_think(profile, bool(paced))
    if profile.lifetime == 0 and paced:
        raise OptionError("--lifetime 0 (close after one exchange) is a closed loop; leave --rate out, or give a time")


def _check_think(profile: Profile, is_paced: bool) -> None:
    if is_paced:
        raise OptionError(
            "--think is of a closed loop: with --rate the schedule says when messages go out; leave one out"
        )
    if profile.depth > 1:
        raise OptionError("--think: a connection that thinks has one message at a time; leave --depth out")
    if profile.lifetime == 0:
        raise OptionError("--think: with --lifetime 0 a connection has one message, and no next one to pause for")


def _check_messages(profile: Profile) -> None:
    """Raises OptionError if --messages alone has to end the run, and would not do so within LONGEST_RUN."""
    if profile.messages is None or profile.rate is None or profile.duration is not None or profile.phases:
        return
    start_hz, end_hz = profile.rate
    if start_hz != end_hz:
        raise OptionError(
            f"--rate: it goes from {format_rate(start_hz)} to {format_rate(end_hz)} over --duration, and --messages "
            f"alone does not say how long that is; give a --duration too, or one rate"
        )
    span_ns = profile.messages * NS_PER_S / start_hz
    if span_ns > LONGEST_RUN:
        raise OptionError(
            f"--messages: {format_count(profile.messages)} messages at {format_rate(start_hz)} take "
            f"{format_duration(span_ns)}, longer than the {format_duration(LONGEST_RUN)} of the longest run without "
            f"--duration; a higher --rate, fewer --messages, or a --duration"
        )
