"""Which connections each engine watches in the measured time, over real sockets."""

from __future__ import annotations

import pytest

from loadkit.measure.tcp_watch import MOST_WATCHED
from tests.truth.witness import timely, witnessed

from .conftest import Blast, Server, run

pytestmark = pytest.mark.slow


@witnessed(())
def test_each_connection_is_watched_once_however_many_phases_are_measured(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    phases = [
        {"name": name, "duration": "200ms", "rate": "200", "measured": measured}
        for name, measured in (("before", False), ("one", True), ("two", True), ("pause", False), ("three", True))
    ]
    whole = run(blasting := blast(port, connections="7", phases=phases))
    assert whole.counters["tcp_watched"] == 7
    watched = [blasting.phase(name).counters["tcp_watched"] for name in ("before", "one", "two", "pause", "three")]
    assert watched[0] == watched[3] == 0
    timely(watched == [0, 7, 0, 0, 0], watched)


def test_of_many_connections_no_more_than_so_many_are_watched(server: Server, blast: Blast) -> None:
    port, _board, _control = server()
    whole = run(blast(port, connections="400", connect_rate="4k", rate="400", duration="300ms"))
    assert whole.counters["tcp_watched"] == MOST_WATCHED


@pytest.mark.parametrize("close", ["rst", "fin"])
@pytest.mark.parametrize("lifetime", ["0", "20ms"])
def test_in_churn_some_of_those_that_open_are_watched_too(
    server: Server, blast: Blast, close: str, lifetime: str
) -> None:
    port, _board, _control = server()
    blasting = blast(port, connections="5", lifetime=lifetime, close=close, duration="800ms")
    whole = run(blasting)
    assert whole.counters["tcp_watched"] == blasting.phase("hold").counters["tcp_watched"]
    # Four for each tenth of a second, beside the five that were open.
    assert 5 < whole.counters["tcp_watched"] < 60
    assert whole.counters["opened"] > whole.counters["tcp_watched"]
