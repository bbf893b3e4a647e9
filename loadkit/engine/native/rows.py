"""What the compiled engine is told of a plan, by name; rows.h is the core's side, with types and bounds.

A table has a row for each value: its name, and how it follows from the plan. The names are compared with the core's
when the engine is loaded (engine/compiled.py), so the two sides cannot drift apart.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from loadkit.distribution import Drawing
from loadkit.endpoint import is_unix
from loadkit.engine.base import MOST_OWED_BYTES
from loadkit.engine.descriptors import free_descriptors
from loadkit.engine.native import _core
from loadkit.engine.ports import knows_port_range
from loadkit.measure.board import Slot
from loadkit.plan.pacing import LinearPace, share
from loadkit.plan.phases import PhaseKind, PhasePlan
from loadkit.plan.serve import ServePlan
from loadkit.plan.split import Shard
from loadkit.plan.target import Route
from loadkit.profile.blast import Close
from loadkit.profile.serve import ProbePeers
from loadkit.units import NS_PER_S
from loadkit.wire.check import JUDGES, NOTHING, Judging
from loadkit.wire.protocol import MOST_REPLY_BYTES
from loadkit.wire.proxy_header import HEADER_NS, ProxyProtocol
from loadkit.wire.script import Script, stretched
from loadkit.wire.wires import RULES, Rule

__all__ = [
    "TABLES",
    "blast_values",
    "pause_values",
    "phase_values",
    "route_values",
    "rule_values",
    "script_values",
    "serve_values",
]

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int]"

_MOST_SLOTS = 1 << 24

_BLAST: Mapping[str, Callable[[Shard], int]] = {
    "lifetime_ns": lambda shard: _or(shard.load.lifetime_ns, -1),
    "timeout_ns": lambda shard: shard.load.timeout_ns,
    "connect_timeout_ns": lambda shard: shard.load.connect_timeout_ns,
    "held_ns": lambda shard: shard.load.held_ns,
    "messages": lambda shard: _or(shard.messages, -1),
    "depth": lambda shard: shard.load.depth,
    "index": lambda shard: shard.index,
    "of": lambda shard: shard.of,
    "opening": lambda shard: shard.most_opening,
    "awake_ns": lambda shard: _core.AWAKE_NS if shard.stays_awake else 0,
    "keepalive_s": lambda shard: (shard.load.keepalive_ns or 0) // NS_PER_S,
    "is_endless": lambda shard: shard.load.is_endless,
    "is_timed": lambda shard: shard.load.is_timed,
    "connects_in_a_loop": lambda shard: shard.load.connect_rate_hz is None,
    "is_checked": lambda shard: shard.load.check,
    # A UNIX socket has no reset, and no AF_UNSPEC to connect anew from.
    "closes_by_rst": lambda shard: shard.load.close is Close.RST and not is_unix(shard.routes[0].destination),
    "is_edge_triggered": lambda shard: shard.edge_triggered,
    "chooses_ports": lambda _shard: not knows_port_range(),
    "proxy_version": lambda shard: list(ProxyProtocol).index(shard.load.proxy_protocol),
    "port": lambda shard: shard.port,
    "is_random": lambda shard: shard.load.is_random,
    "seed": lambda shard: shard.load.seed or 0,
    # A phase with more connections may begin while those of the last are still waiting for their last replies.
    "most_slots": lambda shard: 2 * shard.connections + 1024,
}

_SERVE: Mapping[str, Callable[[ServePlan], int]] = {
    "idle_timeout_ns": lambda plan: _or(plan.idle_timeout_ns, -1),
    "most_owed": lambda _plan: MOST_OWED_BYTES,
    # They are address space, and a limit may be a thousand million: no process serves more than this.
    "most_slots": lambda _plan: min(free_descriptors(), _MOST_SLOTS),
    "probe_peers": lambda plan: list(ProbePeers).index(plan.probes),
    "is_edge_triggered": lambda plan: plan.edge_triggered,
    "shares_listeners": lambda plan: plan.is_unix,
    "header_ns": lambda plan: HEADER_NS if plan.proxy_protocol else 0,
}

# A rule has some of these; what it has not is 0 for the core.
_RULE: Mapping[str, int | bool | bytes] = {
    "length": 0,
    "delimiter": b"",
    "offset": 0,
    "width": 0,
    "is_little": False,
    "adjust": 0,
    "until": b"",
    "quiet_ns": 0,
    "most": MOST_REPLY_BYTES,
    "content": b"",
}

_PHASE: Mapping[str, Callable[[PhasePlan, PhasePlan, Shard], float]] = {
    "duration_ns": lambda phase, _before, _shard: phase.duration_ns,
    "connections": lambda phase, _before, _shard: phase.connections,
    "is_drain": lambda phase, _before, _shard: phase.kind is PhaseKind.DRAIN,
    "is_paced": lambda phase, _before, _shard: phase.rate_hz is not None,
    "is_measured": lambda phase, _before, _shard: phase.kind is PhaseKind.HOLD,
    "start_hz": lambda phase, _before, _shard: _pace(phase).start_hz,
    "change_hz_per_s": lambda phase, _before, _shard: _change_hz_per_s(phase),
    "total": lambda phase, _before, _shard: _pace(phase).total() if max(phase.rate_hz or (0.0,)) > 0 else 0,
    "fewer": lambda phase, before, shard: max(0, _share(before, shard) - _share(phase, shard)),
}

_ROUTE: Mapping[str, Callable[[Route, Shard], int | str | None]] = {
    "source": lambda route, _shard: route.source,
    "destination": lambda route, _shard: route.destination,
    "connections": lambda route, _shard: route.connections,
    "port_low": lambda route, _shard: (route.ports or (0, 0))[0],
    "port_high": lambda route, _shard: (route.ports or (0, 0))[1],
    "next_port": lambda route, shard: _first_port(route, shard),
    "may_meet_itself": lambda route, _shard: route.may_meet_itself,
}

# Table of the core -> the names that it has to have. The last ones are what only a worker's slot knows.
TABLES = {
    "BLAST_ROWS": {*_BLAST, "reads_stamps"},
    "SERVE_ROWS": {*_SERVE, "reads_stamps", "index"},
    "PHASE_ROWS": {*_PHASE},
    "ROUTE_ROWS": {*_ROUTE},
    "RULE_ROWS": {*_RULE, "wire", "judge"},
    "SETTING_ROWS": {"family", "level", "number", "value"},  # engine/settings.py
}


def blast_values(shard: Shard, reads_stamps: bool) -> dict[str, int]:
    """Returns the options of a worker of the blast end."""
    return {name: value(shard) for name, value in _BLAST.items()} | {"reads_stamps": reads_stamps}


def serve_values(plan: ServePlan, slot: Slot, reads_stamps: bool) -> dict[str, int]:
    """Returns the options of a worker of the serve end."""
    values = {name: value(plan) for name, value in _SERVE.items()}
    return values | {"reads_stamps": reads_stamps, "index": slot.tokens.index if slot.tokens else 0}


def phase_values(shard: Shard) -> tuple[dict[str, float], ...]:
    """Returns a worker's phases; the pace of each begins when the phase does."""
    phases = shard.load.phases
    befores = (phases[0], *phases)
    return tuple(
        {name: value(phase, before, shard) for name, value in _PHASE.items()}
        for phase, before in zip(phases, befores, strict=False)
    )


def route_values(shard: Shard) -> tuple[dict[str, int | str | None], ...]:
    """Returns a worker's routes."""
    return tuple({name: value(route, shard) for name, value in _ROUTE.items()} for route in shard.routes)


def pause_values(shard: Shard) -> tuple[bytes, bytes, int, int, int] | tuple[()]:
    """Returns what a worker's pauses follow from: points of their lengths, the least and the most, and a seed."""
    if shard.load.pauses is None:
        return ()
    drawing = Drawing(shard.load.pauses)
    shares, lengths = (array("d", column).tobytes() for column in zip(*drawing.points, strict=True))
    return shares, lengths, drawing.least, drawing.most, shard.load.pause_seed(shard.index)


def rule_values(rule: Rule, judging: Judging = NOTHING) -> dict[str, int | bool | bytes]:
    """Returns what makes a reply, and what it has to say."""
    values = {name: getattr(rule, name, nothing) for name, nothing in _RULE.items()}
    judge = JUDGES.index(judging.kind)
    return values | {"wire": list(RULES.values()).index(type(rule)), "judge": judge, "content": judging.content}


def script_values(script: Script, depth: int) -> tuple[Buffer, int, Buffer, Buffer, int, int]:
    """Returns what connections send; `depth` messages may be under way on each."""
    ends, patches = _words(script.ends), _words(script.patches)
    return stretched(script, depth), len(script.content), ends, patches, script.block, script.starts


def _words(numbers: Sequence[int]) -> Buffer:
    """Returns numbers as 64-bit words: those of a pool are some already."""
    return numbers if isinstance(numbers, array | memoryview) else array("q", numbers)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _pace(phase: PhasePlan) -> LinearPace:
    return LinearPace(0, phase.duration_ns, *(phase.rate_hz or (0.0, 0.0)))


def _change_hz_per_s(phase: PhasePlan) -> float:
    pace = _pace(phase)
    return (pace.end_hz - pace.start_hz) / (phase.duration_ns / NS_PER_S) if phase.duration_ns else 0.0


def _share(phase: PhasePlan, shard: Shard) -> int:
    return share(phase.connections, shard.index, shard.of)


def _first_port(route: Route, shard: Shard) -> int:
    """Workers that choose ports begin in different places of the range."""
    low, high = route.ports or (0, 0)
    return low + (high - low) * shard.index // shard.of
