"""What `--dry-run` says on a terminal: the plan in a line, below its JSON of hundreds of lines."""

from __future__ import annotations

from loadkit.endpoint import place_of
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.units import format_count, format_duration, format_rate, format_size, plural

__all__ = ["dry_run_line"]


def dry_run_line(plan: Plan) -> str:
    """Returns connections, target, workers, engine, pool of messages and phases of a plan."""
    load, here = plan.load, plan.here
    ends = f"{plural(here.workers, 'worker')} to blast"
    if here.serve:
        ends += f", {format_count(here.serve.workers)} to serve"
    pool = ""
    if load.pool:
        pool = f"; a pool of {plural(load.pool.messages, 'message')} in {format_size(load.pool.memory_bytes)}"
    phases = ", ".join(_phase(phase, load) for phase in load.phases if phase.kind is not PhaseKind.DRAIN)
    return (
        f"nothing was opened; the run would have {plural(load.connections, 'connection')} to {_target(plan)}; {ends} "
        f"({here.engine}){pool}; {phases}"
    )


def _target(plan: Plan) -> str:
    target = plan.target
    if not target.embedded:
        return place_of(target.host, target.port)
    return f"an embedded server on {target.span}"


def _phase(phase: PhasePlan, load: Load) -> str:
    text = f"{phase.name} {format_duration(phase.duration_ns)}"
    if load.is_endless and phase.kind is PhaseKind.HOLD:
        text = f"{phase.name} for {plural(load.messages or 0, 'message')}"
    if phase.kind is PhaseKind.RAMP:
        return f"{text} or as long as it takes"
    if phase.rate_hz is None:
        pauses = f" with pauses of {load.think}, seed {load.seed}" if load.think else ""
        return f"{text} in a closed loop{pauses}"
    low, high = phase.rate_hz
    text += f" at {format_rate(low)}" + (f" to {format_rate(high)}" if high != low else "")
    return f"{text}, Poisson, seed {load.seed}" if load.is_random else text
