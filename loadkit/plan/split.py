"""A plan, to one shard a worker. The shards add up to the plan: connections, messages and routes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadkit.plan.model import Plan, Route, Shard
from loadkit.plan.pacing import Turn

__all__ = ["share", "split"]


def share(total: int, index: int, of: int) -> int:
    """Returns worker `index`'s part of `total`: how many of 0 … total - 1 are congruent to index modulo `of`."""
    return total // of + (index < total % of)


def split(plan: Plan) -> tuple[Shard, ...]:
    """Returns the shards of `plan`, one a worker."""
    shards = []
    routes = list(plan.routes)
    opened = plan.phases[0].connections
    lanes = min(plan.lanes, plan.workers)
    before = [0] * lanes  # connects of the workers of a lane that come first
    for index in range(plan.workers):
        connections = share(plan.connections, index, plan.workers)
        mine, routes = _take(routes, connections)
        lane, connects = index % lanes, share(opened, index, plan.workers)
        first = index == 0  # connect number 0 is the run's first connection, which is not paced
        shards.append(
            Shard(
                plan=plan,
                index=index,
                of=plan.workers,
                core=plan.cores[index % len(plan.cores)] if plan.cores else None,
                connections=connections,
                messages=None if plan.messages is None else share(plan.messages, index, plan.workers),
                routes=tuple(mine),
                ramp=Turn(place=before[lane] + first, count=connects - first, lane=lane, lanes=lanes, of=plan.workers),
                connects_before=share(opened, index - lanes, plan.workers) if index >= lanes else 0,
            )
        )
        before[lane] += connects
    return tuple(shards)


def _take(routes: Sequence[Route], count: int) -> tuple[list[Route], list[Route]]:
    """Splits routes into those of the first `count` connections and the rest."""
    taken: list[Route] = []
    rest = list(routes)
    while count:
        route = rest.pop(0)
        now = min(count, route.connections)
        taken.append(msgspec.structs.replace(route, connections=now))
        if now < route.connections:
            rest.insert(0, msgspec.structs.replace(route, connections=route.connections - now))
        count -= now
    return taken, rest
