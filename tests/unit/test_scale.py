"""What opening and holding many connections took, from samples to words."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.measure.memory import MemorySamples
from loadkit.measure.run_samples import RunSamples
from loadkit.plan.memory import estimate_memory
from loadkit.profile.engines import EngineName
from loadkit.report.scale import memory_line, memory_record, opening_line, opening_record
from tests.golden.made_up import REMOTE, RUNS, START_NS, S, changed, made_up_plan, made_up_samples, page, ramp, worker

_PLAN = made_up_plan()
_TENTHS = tuple(S // 10 * tenth for tenth in range(1, 11))


def samples_of(settled_ns: int = S, opened: int = 100, **changes: object) -> RunSamples:
    """What was measured of a ramp that began 1 s after the start."""
    one = worker(0, ramp(opened), page(), page(), page(), settled_ns=START_NS + S + settled_ns)
    return made_up_samples(one, **{"ramp_ns": START_NS + S, "tenths_ns": _TENTHS, **changes})


def test_the_rate_of_each_tenth_is_its_connections_by_its_time() -> None:
    tenths = (*_TENTHS[:9], 2 * S)  # the last took eleven times as long
    opening = opening_record(_PLAN.load, samples_of(2 * S, tenths_ns=tenths))
    assert opening is not None
    assert (opening.opened, opening.duration_ns) == (100, 2 * S)
    assert opening.deciles_per_s == (90.0, *(100.0,) * 8, 9.1)  # one of the first ten was open before


def test_each_tenth_has_its_own_number_of_connections() -> None:
    plan = made_up_plan(connections=11)
    plan = changed(plan, phases=tuple(msgspec.structs.replace(p, connections=11) for p in plan.load.phases))
    # 4/s: the first tenth of 11 is two, of which one was open before; each of the others is one.
    tenths = tuple(S // 4 * tenth for tenth in range(1, 11))
    opening = opening_record(plan.load, samples_of(10 * S // 4, opened=11, tenths_ns=tenths))
    assert opening is not None
    assert opening.deciles_per_s == (4.0,) * 10


@pytest.mark.parametrize(
    ("settled_ns", "tenths"),
    [
        pytest.param(S // 10 - 1, _TENTHS, id="too fast to be looked at often enough"),
        pytest.param(S, _TENTHS[:9], id="not all opened"),
    ],
)
def test_what_was_not_seen_well_enough_has_no_tenths(settled_ns: int, tenths: tuple[int, ...]) -> None:
    opening = opening_record(_PLAN.load, samples_of(settled_ns, tenths_ns=tenths))
    assert opening is not None
    assert opening.deciles_per_s is None


def test_where_nothing_opened_there_is_none() -> None:
    nothing = made_up_samples(worker(0, page(), page(), page(), page(), settled_ns=0))
    assert opening_record(_PLAN.load, nothing) is None
    assert opening_record(_PLAN.load, samples_of(ramp_ns=None)) is None


@pytest.mark.parametrize(("plan", "kernel_ends", "serve"), [(_PLAN, 2, True), (made_up_plan(target=REMOTE), 1, False)])
def test_memory_stands_beside_what_the_doctor_reckons(plan: object, kernel_ends: int, serve: bool) -> None:
    taken = MemorySamples(10_000, 90_000_000, 2_000_000, 500_000 if serve else None, 60_000_000)
    memory = memory_record(changed(plan, engine=EngineName.NATIVE), samples_of(memory=taken))
    assert memory is not None
    assert memory.used_bytes == 152_000_000 + (500_000 if serve else 0)
    estimate = estimate_memory(
        10_000,
        kernel_ends=kernel_ends,
        blast_workers=2,
        serve_workers=2 if serve else 0,
        engine=EngineName.NATIVE,
    )
    assert memory.estimated_bytes == estimate.total_bytes
    assert memory_record(_PLAN, samples_of()) is None


def test_the_lines_say_what_a_connection_cost_and_how_far_the_estimate_was_off() -> None:
    record = RUNS["crowd"]()
    memory = record.memory
    assert memory is not None
    known = msgspec.structs.replace(memory, used_bytes=100 * 2**20, estimated_bytes=110 * 2**20)
    line = memory_line(msgspec.structs.replace(record, memory=known))
    assert line is not None
    assert "kernel 8.69 KiB, blast end 175 B, serve end 50 B" in line
    assert line.endswith("total 100 MiB, estimated by the doctor 110 MiB (+10%)")
    opening = opening_line(record)
    assert opening is not None
    assert opening.startswith("10,000 in 1 s: first tenth 12,183/s, last 8,475/s (0.70 x)")
    load = msgspec.structs.replace(record.load, connect_rate_hz=None)
    in_a_loop = opening_line(msgspec.structs.replace(record, load=load))
    assert in_a_loop is not None
    assert "; a closed loop of connects (--connect-rate max), so `connect` includes no wait" in in_a_loop
    few = msgspec.structs.replace(record, memory=None, opening=None)
    assert (memory_line(few), opening_line(few)) == (None, None)
