"""When a worker looks whether the one before it on its core has connected."""

from __future__ import annotations

from loadkit.engine.aio.openings import Openings
from loadkit.measure.board import Board, BoardLayout
from loadkit.plan.build import build_plan
from loadkit.plan.split import Shard, split
from loadkit.plan.target import Target
from loadkit.profile.read import load_profile
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

MS = 1_000_000


def _third_of_three() -> Shard:
    """The worker whose turn on core 0 comes after that of worker 0."""
    profile, sources = load_profile(None, {"connections": "30", "workers": "3"})
    host = made_up_host(cores=(0, 1), nofile_hard=1_000_000)
    plan = build_plan(profile, sources, host, Target("localhost", ("127.0.0.1",), 9000), ENGINE)
    return split(plan.load, plan.here, plan.target.port)[2]


def test_while_the_worker_before_connects_it_is_looked_at_every_2_ms() -> None:
    shard = _third_of_three()
    assert shard.connects_before == 10
    board = Board(BoardLayout(workers=3, phases=4, highest_ns=10**9))
    openings = Openings(shard, board.slots[0])
    due_ns = 1_000 * MS
    openings.add(iter([due_ns, due_ns + MS]))
    openings.look_before(due_ns - 1, is_ramp=True)
    assert openings.next_ns == due_ns

    openings.look_before(due_ns, is_ramp=True)
    assert openings.next_ns == due_ns + 20 * MS
    board.slots[0].set("settled", 9)
    openings.look_before(due_ns + 20 * MS, is_ramp=True)
    assert openings.next_ns == due_ns + 22 * MS
    board.slots[0].set("settled", 10)
    openings.look_before(due_ns + 22 * MS, is_ramp=True)
    assert openings.next_ns == due_ns
    assert openings.take()[0] == due_ns


def test_after_the_ramp_the_worker_before_is_not_waited_for() -> None:
    board = Board(BoardLayout(workers=3, phases=4, highest_ns=10**9))
    openings = Openings(_third_of_three(), board.slots[0])
    openings.add(iter([MS]))
    openings.look_before(MS, is_ramp=False)
    assert openings.next_ns == MS
