"""The plan of a run, and a worker's shard of it. Frozen; every time is in nanoseconds, every size in bytes."""

from __future__ import annotations

import enum

import msgspec

from loadkit.plan.app import AppSpec
from loadkit.plan.pacing import LinearPace, Turn
from loadkit.profile.model import LONGEST_RUN, Close, EngineName, ProbePeers, Stamps
from loadkit.profile.spell import GivenOptions

__all__ = ["EMBEDDED", "PhaseKind", "PhasePlan", "Plan", "Route", "ServePlan", "Shard", "Target"]

LEAST_PROBED_BYTES, MOST_PROBED_BYTES = 64, 16384  # engine/native/journey.h
EMBEDDED = "embedded"  # the target's name when blast starts the server itself


class PhaseKind(enum.StrEnum):
    """What a phase is for. Only `hold` is measured; the others have figures of their own in the record."""

    RAMP = "ramp"
    WARMUP = "warm-up"
    HOLD = "hold"
    DRAIN = "drain"


class PhasePlan(msgspec.Struct, frozen=True):
    """A named part of the run.

    `rate_hz` is (at the start, at the end) of messages over all connections; None is a closed loop. A ramp opens the
    first connections and sends one message on each; it lasts as long as that takes, `duration_ns` is what is planned.
    """

    name: str
    kind: PhaseKind
    duration_ns: int
    connections: int
    rate_hz: tuple[float, float] | None = None


class Target(msgspec.Struct, frozen=True):
    """Where the connections go. `port` 0 of an embedded target becomes a free port when its server is up.

    `is_local`: an address of this machine, so that what serves there shares the machine's cores with the blast end.
    """

    host: str
    addresses: tuple[str, ...]
    port: int
    embedded: bool = False
    is_local: bool = False


class Route(msgspec.Struct, frozen=True):
    """`connections` of them go from `source` (None: the kernel's choice, no bind) to `destination`.

    `ports` (low, high; both included) is where their local ports come from, where there are so many that the kernel's
    default search for one would be slow. `may_meet_itself`: the local port can be the target's own, and a connection
    that drew it while no server listens there is connected to itself.
    """

    source: str | None
    destination: str
    connections: int
    ports: tuple[int, int] | None = None
    may_meet_itself: bool = False


class ServePlan(msgspec.Struct, frozen=True):
    """A serve end: one worker a process, each with SO_REUSEPORT listeners on every one of `addresses`.

    Where `is_apart`, each has addresses of its own instead, as many as the others: then nothing is left to a hash,
    which would give one worker more connections than it has file descriptors for.

    `app` is what runs instead of the echo. `settle_ns` of the grace are for handshakes that are under way at the stop:
    where blast has both ends there are none. They take a round trip, and longer on a kernel that is busy.
    """

    addresses: tuple[str, ...]
    port: int
    engine: EngineName
    workers: int
    cores: tuple[int, ...]  # empty: not pinned; else worker i runs on cores[i % len(cores)]
    backlog: int = 4096
    max_connections: int | None = None
    idle_timeout_ns: int | None = None
    grace_ns: int = 5 * 10**9
    settle_ns: int = 50 * 10**6
    edge_triggered: bool = False
    stamps: Stamps = Stamps.OFF
    probes: ProbePeers = ProbePeers.LOOPBACK
    is_apart: bool = False
    app: AppSpec | None = None

    def addresses_of(self, index: int) -> tuple[str, ...]:
        """Returns where worker `index` listens."""
        if not self.is_apart:
            return self.addresses
        each = len(self.addresses) // self.workers
        return self.addresses[index * each : (index + 1) * each]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A blast run, decided.

    `sources` names where each value came from: default, profile, option or `environment LOADKIT_…`. `options` has what
    was given beside the profile, as text; `phased` those options that the profile sets phase by phase, and that can
    therefore not be given.
    """

    target: Target
    connections: int
    connect_rate_hz: float | None  # None: as soon as there is room for another (--connect-rate max)
    phases: tuple[PhasePlan, ...]
    messages: int | None
    size_bytes: int
    depth: int
    lifetime_ns: int | None
    timeout_ns: int
    connect_timeout_ns: int
    opening: int  # connections that may be without their first reply while a schedule opens more
    keepalive_ns: int | None
    close: Close
    check: bool
    engine: EngineName
    edge_triggered: bool
    workers: int
    cores: tuple[int, ...]
    lanes: int  # workers that open connections at the same time, one a core; those of a core do so in turn
    stays_awake: bool  # before a message is due: only where each worker has a core of its own
    routes: tuple[Route, ...]
    serve: ServePlan | None
    journey: bool
    stamps: Stamps
    slo: tuple[str, ...]
    highest_ns: int  # the histograms' upper end
    profile: str | None
    sources: dict[str, str]
    options: GivenOptions = {}
    phased: tuple[str, ...] = ()

    @property
    def probe_bytes(self) -> int:
        """The size of a probe's message: that of the others, as far as an idle socket takes it whole.

        No less than a serve end answers with stamps: a shorter one would come back many times as long.
        """
        return max(LEAST_PROBED_BYTES, min(self.size_bytes, MOST_PROBED_BYTES))

    @property
    def open_loop(self) -> bool:
        """Whether messages go out on a schedule rather than after each reply."""
        return any(phase.rate_hz is not None for phase in self.phases)

    @property
    def is_endless(self) -> bool:
        """Whether the last of --messages ends the run, and no duration does: the hold is the longest there may be."""
        longest = max(phase.duration_ns for phase in self.phases if phase.kind is PhaseKind.HOLD)
        return self.messages is not None and longest >= LONGEST_RUN

    @property
    def held_ns(self) -> int:
        """How long into the drain a message that is due, and has to wait for room, may still go out.

        It counts for the measured time, which is over: so 1 % of that at most (10 ms of a very short run), or a rate
        far above what both ends can do would be reported as reached.
        """
        measured = sum(phase.duration_ns for phase in self.phases if phase.kind is PhaseKind.HOLD)
        return max(10_000_000, measured // 100)

    @property
    def messages_span_ns(self) -> int | None:
        """How long so many --messages take at the rates asked for, from the start of the window; 0 in a closed loop.

        More than the schedule has end with its last measured phase. None without --messages.
        """
        if self.messages is None:
            return None
        kinds = [phase.kind for phase in self.phases]
        left, begin_ns, end_ns = self.messages, 0, 0
        for phase in self.phases[kinds.index(PhaseKind.HOLD) :]:
            if phase.kind is PhaseKind.HOLD:
                if phase.rate_hz is None:
                    return begin_ns
                pace = LinearPace(0, phase.duration_ns, *phase.rate_hz)
                if left <= pace.total():  # at a rate of 0 there is none
                    return begin_ns + min(phase.duration_ns, pace.time(left))
                left -= pace.total()
                end_ns = begin_ns + phase.duration_ns
            begin_ns += phase.duration_ns
        return end_ns

    @property
    def asked_rate_hz(self) -> float | None:
        """The mean rate over the measured phases; None in a closed loop."""
        held = [phase for phase in self.phases if phase.kind is PhaseKind.HOLD and phase.rate_hz is not None]
        total_ns = sum(phase.duration_ns for phase in held)
        if not total_ns:
            return None
        return sum(sum(phase.rate_hz or ()) / 2 * phase.duration_ns for phase in held) / total_ns


class Shard(msgspec.Struct, frozen=True):
    """Worker `index` of `of`'s part: the messages number index + k of, for k = 0, 1, 2 and so on.

    Its connects of the ramp are its turn in its lane (plan/pacing.py): those of workers on one core follow one another,
    because processes that compete for a core cost more than the connections. Connect number 0 is the run's first
    connection, which is opened before the others and is in no turn.
    """

    plan: Plan
    index: int
    of: int
    core: int | None
    connections: int  # the most it has open at once
    messages: int | None
    routes: tuple[Route, ...]
    ramp: Turn  # its connects of the ramp, without the run's first connection
    connects_before: int  # of worker index - ramp.lanes, whose turn comes first, all of them; 0: there is none

    @property
    def opens_first(self) -> bool:
        """Whether it opens the run's first connection."""
        return self.index == 0
