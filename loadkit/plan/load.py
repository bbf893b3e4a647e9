"""The load: what is asked of the target, wherever it runs. Every time is in nanoseconds, every size in bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec

from loadkit.chance import ARRIVALS, PAUSES, stream
from loadkit.distribution import Durations
from loadkit.plan.messages import Pool, SentFile, messages_of
from loadkit.plan.origins import DERIVED, asked_by, worked_out
from loadkit.plan.pacing import LinearPace
from loadkit.plan.phases import PhaseKind, PhasePlan, connect_rate_of, phases_of
from loadkit.plan.replies import check_fits, content_of
from loadkit.plan.sockets import SOCKET_OPTIONS, SocketValues, sockets_of
from loadkit.profile.blast import LONGEST_RUN, Arrivals, Close, Profile
from loadkit.profile.both import Stamps
from loadkit.profile.setup import hidden, talks_of
from loadkit.units import NS_PER_S, Duration
from loadkit.wire.check import EXACT, NOTHING, Check
from loadkit.wire.echo import Echo, echo_script
from loadkit.wire.expect import ECHO, QUIET, Expect
from loadkit.wire.proxy_header import ProxyProtocol
from loadkit.wire.render import Order
from loadkit.wire.setup import Step
from loadkit.wire.unmarked import Closed
from loadkit.wire.wires import Rule, Wire

__all__ = ["Load", "Said", "build_load"]

LEAST_PROBED_BYTES, MOST_PROBED_BYTES = 64, 16384  # engine/native/journey.h
# How long past the longest latency asked for a histogram reaches; a message can be older than its timeout when it had
# to wait for its turn.
LEAST_HIGHEST = Duration.parse("60s")


class Said(msgspec.Struct, frozen=True):
    """What is said before the first message, hidden (profile/setup.py), where the reply ends, and what it has to be."""

    text: str
    expect: str
    check: str = "none"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a run asks of its target. Two runs with the same load and the same target can be compared and added up.

    The options behind each value stand on its field.
    """

    connections: Annotated[int, asked_by("connections")]
    # None: as soon as there is room for another (--connect-rate max).
    connect_rate_hz: Annotated[float | None, asked_by("connect_rate", otherwise=DERIVED)]
    phases: Annotated[tuple[PhasePlan, ...], asked_by("phases", "rate", "duration", "warmup")]
    messages: Annotated[int | None, asked_by("messages")]
    arrivals: Annotated[Arrivals, asked_by("arrivals")] = Arrivals.EVEN
    # How long a closed loop pauses between a reply and the next message of its connection, as distribution.py reads it.
    think: Annotated[str | None, asked_by("think")] = None
    # What its random values follow from; None: it has none. Of runs that were merged: None, if they had different ones.
    seed: Annotated[int | None, asked_by("seed", otherwise=DERIVED)] = None
    size_bytes: Annotated[int, asked_by("size", "send")]  # their mean, rounded, if messages have several sizes
    depth: Annotated[int, asked_by("depth")]
    lifetime_ns: Annotated[int | None, asked_by("lifetime", "expect")]
    timeout_ns: Annotated[int, asked_by("timeout")]
    connect_timeout_ns: Annotated[int, asked_by("connect_timeout")]
    # Connections that may be without their first reply while a schedule opens more.
    opening: Annotated[int, asked_by("opening")]
    keepalive_ns: Annotated[int | None, asked_by("keepalive")]
    close: Annotated[Close, asked_by("close")]
    check: Annotated[bool, asked_by("check")]
    journey: Annotated[bool, asked_by("journey")]
    stamps: Annotated[Stamps, asked_by("stamps")]
    sockets: Annotated[SocketValues, asked_by(*SOCKET_OPTIONS)] = {}
    expect: Annotated[str, asked_by("expect")] = ECHO  # wire/expect.py
    sizes: Annotated[str | None, asked_by("size")] = None  # how sizes are distributed, if they differ
    send: Annotated[tuple[str, ...], asked_by("send")] = ()  # as it was given; @FILE names a file
    order: Annotated[Order, asked_by("order")] = Order.TURN
    files: Annotated[tuple[SentFile, ...], worked_out()] = ()  # that messages are made of
    pool: Annotated[Pool | None, worked_out()] = None  # None: messages of one size, which need none
    # What is said on each connection before its first message.
    setup: Annotated[tuple[Said, ...], asked_by("first", "first_expect", "first_check")] = ()
    # The header that goes before all of that, with the connection's own addresses.
    proxy_protocol: Annotated[ProxyProtocol, asked_by("proxy_protocol")] = ProxyProtocol.OFF
    # What is compared if `check` says that a reply's content is: wire/check.py.
    content: Annotated[str, asked_by("check")] = EXACT
    highest_ns: Annotated[int, worked_out()]  # the histograms' upper end

    @property
    def wire(self) -> Wire:
        """What its connections send, and take for replies."""
        return Wire(echo_script(self.size_bytes), self.rule, Check(self.content).judging if self.check else NOTHING)

    @property
    def rule(self) -> Rule:
        """Where a reply ends, and if it is an echo, whether its content is compared."""
        rule = Expect(self.expect).rule
        return Echo(self.check) if isinstance(rule, Echo) else rule

    @property
    def echoes(self) -> bool:
        """Whether a reply is the message again. A record may have a framing that is not known yet, and is none."""
        return self.expect == ECHO

    @property
    def is_approximate(self) -> bool:
        """Whether a quiet time is taken for the end of a reply."""
        return self.expect.startswith(f"{QUIET}:")

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
    def pauses(self) -> Durations | None:
        """How long it thinks; None if it does not. Raises ValueError if a record has what is no distribution."""
        return None if self.think is None else Durations.parse(self.think)

    @property
    def is_timed(self) -> bool:
        """Whether messages are due at times of their own, on a schedule or after a pause: then they can be late."""
        return self.open_loop or self.think is not None

    def pause_seed(self, worker: int) -> int:
        """Returns the seed of the pauses of a worker, by its number."""
        return stream(self.seed or 0, PAUSES, worker)

    @property
    def is_random(self) -> bool:
        """Whether messages go out on a schedule of random arrivals."""
        return self.open_loop and self.arrivals is Arrivals.EXP

    def arrivals_seed(self, phase: int) -> int:
        """Returns the seed of the random arrivals of a phase, by its number: each has a process of its own."""
        return stream(self.seed or 0, ARRIVALS, phase)

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

        More than the schedule has end with its last measured phase. Of random arrivals it is a guess. None without
        --messages.
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


def build_load(
    profile: Profile,
    fresh_seed: int = 0,
    contents: Mapping[str, bytes] | None = None,
    memory: int | None = None,
    setup: tuple[Step, ...] = (),
) -> Load:
    """Returns what a profile asks of a target; `fresh_seed` is for random values if it has no seed.

    `contents` has the files that its messages name, `setup` the steps before them (profile/setup.py). No pool of
    messages is larger than `memory`, in bytes. Raises OptionError or ProfileError for what cannot work anywhere.
    """
    phases, content = phases_of(profile), content_of(profile)
    check_fits(profile, any(phase.rate_hz is not None for phase in phases))
    span_ns = sum(phase.duration_ns for phase in phases)
    sent = messages_of(profile, contents or {}, memory)
    return Load(
        connections=max(phase.connections for phase in phases),
        connect_rate_hz=None if profile.connect_rate == math.inf else connect_rate_of(profile, phases[0].connections),
        phases=phases,
        messages=_int(profile.messages),
        arrivals=profile.arrivals,
        think=None if profile.think is None else str(profile.think),
        seed=_seed(profile, fresh_seed, sent.pool),
        size_bytes=sent.size_bytes,
        depth=int(profile.depth),
        lifetime_ns=0 if isinstance(profile.expect.rule, Closed) else _int(profile.lifetime),
        timeout_ns=int(profile.timeout),
        connect_timeout_ns=int(profile.connect_timeout),
        opening=int(profile.opening),
        keepalive_ns=_int(profile.keepalive),
        close=profile.close,
        check=content is not None,
        journey=profile.journey,
        stamps=profile.stamps,
        sockets=sockets_of(profile),
        expect=str(profile.expect),
        sizes=str(profile.size) if sent.pool and not profile.send else None,
        send=profile.send,
        order=profile.order,
        files=sent.files,
        pool=sent.pool,
        setup=tuple(
            Said(hidden(step.sends), str(talk.expect), str(talk.check))
            for step, talk in zip(
                setup, talks_of(profile.first, profile.first_expect, profile.first_check), strict=False
            )
        ),
        proxy_protocol=profile.proxy_protocol,
        content=content or EXACT,
        highest_ns=max(int(LEAST_HIGHEST), 2 * (int(profile.timeout) + min(span_ns, 3600 * NS_PER_S))),
    )


def _seed(profile: Profile, fresh_seed: int, pool: Pool | None) -> int | None:
    if profile.seed is not None:
        return int(profile.seed)
    is_timed_at_random = profile.arrivals is Arrivals.EXP or profile.think is not None
    is_random = is_timed_at_random or (pool is not None and pool.is_random)
    return fresh_seed if is_random else None


def _int(value: int | None) -> int | None:
    """Takes the unit off a quantity; the load's field names carry it."""
    return None if value is None else int(value)
