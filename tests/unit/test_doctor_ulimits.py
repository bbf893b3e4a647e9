"""The doctor's findings on `ulimit -v`, `-d` and `-f`; tests/truth/test_doctor.py has what then happens."""

from __future__ import annotations

import resource
from dataclasses import replace

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import Finding, Level
from loadkit.limits import Ulimit, ulimits
from loadkit.profile.engines import EngineName
from tests.unit.examined import check_form, demanded

MIB = 2**20


def judged(limit: Ulimit, *, connections: int = 100, engine: EngineName = EngineName.NATIVE) -> Finding:
    """Returns the finding on the limit, where the shared memory takes 200 MiB and 3 MiB."""
    demand = replace(
        demanded(connections),
        ulimits=(limit,),
        engine=engine,
        blast_workers=1,
        serve_workers=1,
        blast_board_bytes=200 * MIB,
        serve_board_bytes=3 * MIB,
    )
    [found] = [one for one in examine(demand) if one.code in ("address-space", "data-size", "file-size")]
    check_form(found)
    return found


@pytest.mark.parametrize(
    ("letter", "mebibytes", "level"),
    [
        # 168 + 2 x 203 = 574 MiB: warned of below 1.15 of it; refused below 0.85 of 168 + 1.44 x 203 = 460 MiB
        ("v", 391, Level.FAIL),
        ("v", 392, Level.WARN),
        ("v", 660, Level.WARN),
        ("v", 661, Level.OK),
        # 130 + 203 = 333 MiB; 130 + 0.44 x 203 = 219 MiB
        ("d", 186, Level.FAIL),
        ("d", 187, Level.WARN),
        ("d", 383, Level.OK),
        ("f", 199, Level.FAIL),
        ("f", 200, Level.OK),
    ],
)
def test_a_limit_is_judged_by_what_the_largest_process_takes(letter: str, mebibytes: int, level: Level) -> None:
    assert judged(Ulimit(letter, mebibytes * MIB, None)).level is level


def test_the_calculation_is_shown() -> None:
    found = judged(Ulimit("v", 300 * MIB, None))
    assert found.seen == "`ulimit -v` is 300 MiB"
    assert found.needed == (
        "about 574 MiB = 168 MiB of the process that starts the workers + 2 x 203 MiB of shared memory, in which they "
        "count"
    )
    assert judged(Ulimit("f", MIB, None)).needed == "200 MiB of shared memory, in which the workers count"


def test_a_worker_with_very_many_connections_takes_more_than_the_process_that_starts_it() -> None:
    found = judged(Ulimit("d", 300 * MIB, None), connections=400_000, engine=EngineName.UVLOOP)
    assert found.needed == "about 809 MiB = 65 MiB of a worker + 400,000 connections x 1,950 B"


@pytest.mark.parametrize(
    ("limit", "fix"),
    [
        (Ulimit("v", 300 * MIB, None), "ulimit -v 675944, or systemd LimitAS=692166656"),
        (
            Ulimit("d", 200 * MIB, 200 * MIB),
            "ulimit -d 392144 (as root), or docker run --ulimit data=401555456:401555456, or systemd "
            "LimitDATA=401555456",
        ),
        (
            Ulimit("f", MIB, None),
            "ulimit -f unlimited, or docker run --ulimit fsize=209715200:209715200, or systemd LimitFSIZE=209715200",
        ),
    ],
)
def test_the_fix_raises_the_limit_to_what_is_enough(limit: Ulimit, fix: str) -> None:
    assert judged(limit).fix == fix
    wanted = int(fix.rpartition("=")[2])
    assert judged(Ulimit(limit.letter, wanted, None)).level is Level.OK


def test_a_hard_limit_takes_a_capability_to_be_raised() -> None:
    demand = replace(demanded(capabilities=0), ulimits=(Ulimit("f", 4096, 4096),), blast_board_bytes=MIB)
    [found] = [one for one in examine(demand) if one.code == "capabilities"]
    assert found.needed == "CAP_SYS_RESOURCE for file-size"
    free = replace(demand, ulimits=(Ulimit("f", 4096, None),))
    assert next(one for one in examine(free) if one.code == "capabilities").needed == "none"


def test_only_limits_that_are_set_are_read() -> None:
    letters = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA, "f": resource.RLIMIT_FSIZE}
    set_ = {letter for letter, number in letters.items() if resource.getrlimit(number)[0] != resource.RLIM_INFINITY}
    assert {one.letter for one in ulimits()} == set_
    assert all(one.soft == resource.getrlimit(letters[one.letter])[0] for one in ulimits())
