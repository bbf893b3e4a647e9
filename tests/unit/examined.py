"""The doctor's findings on the made-up host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadkit.doctor.check import examine
from loadkit.doctor.demand import Demand, demand_of_blast, demand_of_serve
from loadkit.doctor.finding import Finding, Level
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.target import Target
from loadkit.profile.engines import EngineName
from loadkit.sockets import Sockets
from tests.unit.made_up import made_up_host

REMOTE = Target("db", ("10.0.0.1",), 5432)
LOCAL = Target("localhost", ("127.0.0.1",), 9000)

NATIVE = ChosenEngine(EngineName.NATIVE)


def demanded(
    connections: int = 1000,
    target: Target | None = None,
    *,
    serve: bool = False,
    churn_hz: float | None = None,
    source: tuple[str, ...] = (),
    sockets: Sockets | None = None,
    **facts: Any,
) -> Demand:
    """Returns what is asked of the made-up host with some facts changed."""
    host = made_up_host(**facts)
    if serve:
        return replace(demand_of_serve(host, connections, NATIVE), churn_hz=churn_hz)
    demand = demand_of_blast(host, connections, target, NATIVE, sockets=sockets, source=source)
    return replace(demand, churn_hz=churn_hz)


def find(code: str, *asked: Any, **more: Any) -> Finding:
    """Returns the one finding of that code, whose form is checked."""
    [found] = [finding for finding in examine(demanded(*asked, **more)) if finding.code == code]
    check_form(found)
    return found


def check_form(found: Finding) -> None:
    """Asserts what is true of every finding."""
    assert found.seen
    assert found.needed
    assert bool(found.why) == bool(found.fix) == (found.level is not Level.OK), found
    for sysctl in found.sysctls:
        name, _, value = sysctl.partition("=")
        assert f"sysctl -w {name}=" in found.fix
        assert value.split()[0] in found.fix


def codes(*asked: Any, **more: Any) -> list[str]:
    """Returns the codes of all findings, in their order."""
    return [finding.code for finding in examine(demanded(*asked, **more))]
