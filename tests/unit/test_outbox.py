"""Messages that wait: whatever happens to connections, each goes out once, and the end of one is never more work."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loadkit.engine.aio.outbox import Outbox
from loadkit.engine.aio.schedule import Schedule
from loadkit.plan.pacing import LinearPace
from loadkit.units import NS_PER_S


class MadeUpConnection:
    def __init__(self, swarm: MadeUpSwarm) -> None:
        self.swarm = swarm
        self.held: deque[int] | None = None
        self.under_way = 0

    def has_room(self) -> bool:
        self.swarm.steps += 1
        return self.under_way < self.swarm.depth

    def send(self, intended: int, _taken: int | None) -> None:
        self.swarm.steps += 1
        self.under_way += 1
        self.swarm.sent.append(intended)

    def hold(self, intended: int) -> None:
        self.swarm.steps += 1
        if self.held is None:
            self.held = deque()
        self.held.append(intended)


class MadeUpTally:
    def __init__(self) -> None:
        self.due: list[int] = []
        self.unsent: list[int] = []

    def count(self, *_: object) -> None:
        pass


class MadeUpSwarm:
    """Connections that the test opens, answers and ends. `steps` counts what is asked of them."""

    def __init__(self, depth: int, churns: bool) -> None:
        self.depth, self.churns = depth, churns
        self.tally = MadeUpTally()
        self.live: list[MadeUpConnection] = []
        self.sent: list[int] = []
        self.steps = 0
        crowd: Any = self
        self.outbox = Outbox(crowd)

    def may_open(self) -> bool:
        return self.churns

    def may_go_out(self) -> bool:
        return True

    def spend(self, count: int = 1) -> None:
        pass

    def arm(self) -> None:
        pass

    def open(self) -> None:
        connection: Any = MadeUpConnection(self)
        self.live.append(connection)
        if self.outbox.homeless:
            self.outbox.fill(connection)

    def answer(self, place: int) -> None:
        connection: Any = self.live[place]
        if connection.under_way:
            connection.under_way -= 1
            self.outbox.fill(connection)

    def end(self, place: int) -> None:
        connection = self.live.pop(place)
        held, connection.held = connection.held, None
        self.outbox.give_held(held)


def _with_messages(swarm: MadeUpSwarm, count: int) -> None:
    """A schedule of so many messages begins, all of which are due by now."""
    swarm.outbox.begin(Schedule(LinearPace(0, NS_PER_S, count, count), 0, 1, count))


def test_the_end_of_a_connection_is_no_more_work_where_many_messages_wait() -> None:
    swarm = MadeUpSwarm(depth=1, churns=True)
    swarm.open()
    _with_messages(swarm, 5_000)
    for _ in range(5_000):
        assert swarm.outbox.take()
    swarm.steps = 0
    for _ in range(1_000):
        swarm.end(0)
        swarm.open()
    assert len(swarm.sent) == 1_001
    assert swarm.outbox.waiting == 3_999
    # Whether there is room, the message, and that there is no more room: moving all of them would be 4,000 steps each.
    assert swarm.steps <= 3 * 1_000


def test_the_oldest_goes_out_first_whether_it_waited_for_this_connection_or_for_any() -> None:
    swarm = MadeUpSwarm(depth=1, churns=False)
    swarm.open()
    swarm.open()
    _with_messages(swarm, 9)
    for _ in range(9):
        swarm.outbox.take()
    swarm.end(0)
    for _ in range(9):
        swarm.answer(0)
    assert swarm.sent == sorted(swarm.sent)
    assert len(swarm.sent) == 9
    assert swarm.outbox.is_empty


_STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "answer", "answer", "open", "end"]), st.integers(0, 10)),
    max_size=200,
)


@given(_STEPS, st.integers(1, 3), st.booleans())
def test_none_is_lost_and_none_waits_for_any_while_each_has_room(
    steps: list[tuple[str, int]], depth: int, churns: bool
) -> None:
    swarm = MadeUpSwarm(depth, churns)
    swarm.open()
    _with_messages(swarm, 200)
    for step, place in steps:
        if step == "take":
            swarm.outbox.take()
        elif step == "open":
            swarm.open()
        elif swarm.live:
            getattr(swarm, step)(place % len(swarm.live))
        outbox, tally = swarm.outbox, swarm.tally
        held = [intended for one in swarm.live for intended in one.held or ()]
        assert outbox.waiting == len(held) + len(outbox.homeless)
        assert Counter(tally.due) == Counter([*swarm.sent, *tally.unsent, *held, *outbox.homeless])
        if outbox.homeless and swarm.live:
            assert not all(one.under_way < depth for one in swarm.live)
        if outbox.homeless and not swarm.live:
            assert churns
