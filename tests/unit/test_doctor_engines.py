from __future__ import annotations

from dataclasses import replace

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import Level
from loadkit.engine import registry
from loadkit.engine.registry import choose_engine
from loadkit.profile.engines import EngineName
from tests.unit.examined import check_form, demanded, find


def test_the_fastest_engine_is_well() -> None:
    found = find("engine")
    assert (found.level, found.seen) == (Level.OK, "engine native")
    assert not found.in_runs


@pytest.mark.parametrize(
    ("is_uvloop_there", "name", "lacks"),
    [
        (True, "uvloop", "--edge-triggered"),
        (False, "asyncio", "--edge-triggered, ERR, HUP and RDHUP of wake-ups"),
    ],
    ids=["uvloop", "asyncio"],
)
def test_a_slower_one_says_why_what_it_lacks_and_how_to_get_the_faster(
    is_uvloop_there: bool, name: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "native_missing", lambda: "it was not compiled when loadkit was installed")
    monkeypatch.setattr(registry, "is_installed", lambda module: is_uvloop_there)
    chosen = choose_engine(EngineName.AUTO)
    demand = replace(demanded(), engine=chosen.name, fallback=chosen.fallback)
    [found] = [one for one in examine(demand) if one.code == "engine"]
    check_form(found)
    assert (found.level, found.seen, found.in_runs) == (Level.WARN, f"engine {name}", False)
    assert found.why.startswith("the native engine is not there: it was not compiled when loadkit was installed; ")
    assert found.why.endswith(f"does without {lacks}")
    assert found.fix == "with a C compiler and Python's headers (Debian: gcc python3-dev) install loadkit again"
