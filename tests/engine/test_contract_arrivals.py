"""Random arrivals at the blast end: every engine sends the same messages, and exactly so many."""

from __future__ import annotations

import pytest

from loadkit.engine.fake import FakeEngine
from loadkit.measure.samples import read_board
from loadkit.plan.arrivals import arrival_times
from loadkit.plan.build import build_plan
from loadkit.plan.pacing import LinearPace, share
from loadkit.profile.read import load_profile
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host

from .conftest import Blast, Blasting, Server, run

pytestmark = pytest.mark.slow


def _due(blasting: Blasting, index: int, of: int) -> list[int]:
    """How many messages a worker has in each phase that has a rate."""
    load = blasting.plan.load
    return [
        len(list(arrival_times(LinearPace(0, phase.duration_ns, *phase.rate_hz), load.arrivals_seed(at), index, of)))
        for at, phase in enumerate(load.phases)
        if phase.rate_hz
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_each_worker_has_its_part_of_the_process_in_each_phase(server: Server, blast: Blast, workers: int) -> None:
    port, _board, _control = server()
    rates = {"low": "300", "pause": "0", "rising": "0:2k", "falling": "1k:0"}
    phases = [{"name": name, "duration": "100ms", "rate": rate} for name, rate in rates.items()]
    blasting = blast(port, connections="30", workers=str(workers), phases=phases, arrivals="exp", seed="7")
    whole = run(blasting)
    for worker in read_board(blasting.board):
        intended = [phase.counters["intended"] for phase in worker.phases[1:-1]]
        assert intended == _due(blasting, worker.index, workers)
    # A phase keeps what it left unsent, which a busy machine may make it do at its end.
    assert whole.counters["replied"] + whole.counters["unsent"] == whole.counters["intended"]
    assert whole.errors == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_n_messages_are_n_at_random_arrivals_too(server: Server, blast: Blast, workers: int) -> None:
    port, _board, _control = server()
    options = {"connections": "20", "workers": str(workers), "messages": "301", "rate": "3k"}
    blasting = blast(port, **options, arrivals="exp", seed="3")
    whole = run(blasting)
    for worker in read_board(blasting.board):
        assert worker.phases[1].counters["replied"] == share(301, worker.index, workers)
    assert whole.errors == {}
    parts = [blasting.phase("hold").histograms[name].sum_ns for name in ("lateness", "held", "service")]
    assert blasting.phase("hold").histograms["latency"].sum_ns == sum(parts)


def test_what_an_overload_left_is_counted_as_the_process_has_it(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="2", duration="100ms", rate="1m", arrivals="exp", seed="1")
    run(blasting)
    hold = blasting.phase("hold").counters
    assert hold["intended"] == _due(blasting, 0, 1)[-1]
    assert hold["intended"] == hold["replied"] + hold["unsent"]


def test_the_fake_engine_has_the_same_messages() -> None:
    options = {"connections": 4, "rate": "1k", "duration": "300ms", "warmup": "100ms", "arrivals": "exp", "seed": 5}
    plan = build_plan(*load_profile(None, options), made_up_host(), None, ENGINE)
    blasting = Blasting(FakeEngine(), plan)
    run(blasting)
    assert [blasting.phase(name).counters["replied"] for name in ("warm-up", "hold")] == _due(blasting, 0, 1)
