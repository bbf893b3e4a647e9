"""A plan, to one shard per worker. The shards add up to the plan: connections, messages and routes.

A shard is what a worker process gets, and no more: the load, which is small, and its own part of the placement. The
routes of all workers, where the values came from and the objectives stay in the parent.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadkit.plan.load import Load
from loadkit.plan.pacing import Turn, share
from loadkit.plan.placement import Placement
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Route
from loadkit.profile.engines import EngineName
from loadkit.wire.script import Script
from loadkit.wire.setup import Step
from loadkit.wire.wires import Wire

__all__ = ["ServeShard", "Shard", "split", "split_serve"]


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Worker `index` of `of`'s part: the messages number index + k of, for k = 0, 1, 2 and so on.

    Its connects of the ramp are its turn in its lane (plan/pacing.py): those of workers on one core follow one another,
    because processes that compete for a core cost more than the connections. Connect number 0 is the run's first
    connection, which is opened before the others and is in no turn.
    """

    load: Load
    index: int
    of: int
    engine: EngineName
    edge_triggered: bool
    stays_awake: bool
    core: int | None
    port: int  # the target's: of an embedded server it is known once that is up
    connections: int  # the most it has open at once
    messages: int | None
    routes: tuple[Route, ...]
    ramp: Turn  # its connects of the ramp, without the run's first connection
    connects_before: int  # all those of worker index - ramp.lanes, whose turn comes first; 0: no such worker
    script: Script | None = None  # what is in the pool, of a load that has one; each worker maps it
    setup: tuple[Step, ...] = ()  # what is said on each connection before its first message

    @property
    def wire(self) -> Wire:
        """What its connections send, and take for replies. It is sent to no worker: it follows from the load."""
        wire = self.load.wire
        return msgspec.structs.replace(wire, script=self.script) if self.script else wire

    @property
    def opens_first(self) -> bool:
        """Whether it opens the run's first connection."""
        return self.index == 0

    @property
    def most_opening(self) -> int:
        """How many connections of this worker may be without their first reply while a schedule opens more."""
        return max(1, self.load.opening // self.ramp.lanes)


class ServeShard(msgspec.Struct, frozen=True):
    """Worker `index`'s part of a serve end.

    Its `plan` has no addresses but those that this worker listens on, no cores, and not where its values came from.
    """

    plan: ServePlan
    index: int
    core: int | None
    port: int


def split(load: Load, placement: Placement, port: int, setup: tuple[Step, ...] = ()) -> tuple[Shard, ...]:
    """Returns the shards of a load on a machine, one per worker; `port` is the target's, `setup` what Plan has."""
    shards = []
    routes: Sequence[Route] = placement.routes
    opened = load.phases[0].connections
    lanes = min(placement.lanes, placement.workers)
    # What is in the pool each worker has from there.
    sent = msgspec.structs.replace(load, send=(), files=()) if load.pool else load
    before = [0] * lanes  # connects of the workers of a lane that come first
    for index in range(placement.workers):
        connections = share(load.connections, index, placement.workers)
        mine, routes = _take(routes, connections)
        lane, connects = index % lanes, share(opened, index, placement.workers)
        first = index == 0  # connect number 0 is the run's first connection, which is not paced
        shards.append(
            Shard(
                load=sent,
                index=index,
                of=placement.workers,
                engine=placement.engine,
                edge_triggered=placement.edge_triggered,
                stays_awake=placement.stays_awake,
                core=_core_of(placement.cores, index),
                port=port,
                connections=connections,
                messages=None if load.messages is None else share(load.messages, index, placement.workers),
                routes=tuple(mine),
                ramp=Turn(
                    place=before[lane] + first, count=connects - first, lane=lane, lanes=lanes, of=placement.workers
                ),
                connects_before=share(opened, index - lanes, placement.workers) if index >= lanes else 0,
                setup=setup,
            )
        )
        before[lane] += connects
    return tuple(shards)


def split_serve(plan: ServePlan, port: int) -> tuple[ServeShard, ...]:
    """Returns the shards of a serve end, one per worker; `port` is where it listens."""
    return tuple(
        ServeShard(
            msgspec.structs.replace(
                plan, addresses=plan.addresses_of(index), is_apart=False, cores=(), socket_origins={}, origins={}
            ),
            index,
            _core_of(plan.cores, index),
            port,
        )
        for index in range(plan.workers)
    )


def _core_of(cores: Sequence[int], index: int) -> int | None:
    return cores[index % len(cores)] if cores else None


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
