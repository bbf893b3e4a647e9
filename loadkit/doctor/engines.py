"""The engine that a run here would have, and what a slower one does without.

No run needs it to be said: blast and serve name their engine, and why it is not a faster one, by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.profile.engines import ABILITIES, ENGINES, Feature

__all__ = ["check_engines"]


def check_engines(demand: Demand) -> Iterator[Finding]:
    """Yields the finding on the engine."""
    name, fastest = demand.engine, ENGINES[0]
    seen, needed = f"engine {name}", f"{fastest}, the fastest"
    if demand.fallback is None:
        yield Finding("engine", Level.OK, seen, needed, in_runs=False)
        return
    reason, _, fix = demand.fallback.partition("; ")
    lacks = [one.value for one in Feature if ABILITIES[one][fastest].has and not ABILITIES[one][name].has]
    why = f"{reason}; {name} takes more CPU time per message, and does without {', '.join(lacks)}"
    yield Finding("engine", Level.WARN, seen, needed, why, fix, in_runs=False)
