"""The witness of this machine, and the table that asks it: each can say no."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run
from .test_verdicts import Row, find_wrong
from .witness import Seen, Witness

S, MS = 1_000_000_000, 1_000_000
STARTED = 1_790_000_000 * S
QUIET = Seen((), 0.0, 0.0)


@pytest.fixture
def witness() -> Iterator[Witness]:
    with contextlib.closing(Witness()) as started:
        yield started


@pytest.mark.slow
def test_a_witness_that_was_kept_from_running_notes_when(witness: Witness) -> None:
    core, process = next(iter(witness.processes.items()))
    witness.look()
    began = time.time_ns()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.1)  # the pause itself
    os.kill(process.pid, signal.SIGCONT)
    seen = witness.look()
    longest = max(seen.overslept, key=lambda one: one[2] - one[1])
    assert longest[0] == core
    assert longest[2] - longest[1] > 90 * MS
    assert longest[1] - 50 * MS < began < longest[2]
    assert not [one for one in witness.look().overslept if one == longest]


@pytest.mark.slow
def test_our_own_cpu_time_is_not_that_of_others(witness: Witness) -> None:
    # Loops on all cores: whatever else runs here, they have their part, and others have no more than the rest.
    loop = "import os, time\nwhile time.process_time() < 0.4: pass\nprint(os.times().user + os.times().system)"
    cores = len(os.sched_getaffinity(0))
    witness.look()
    began = time.monotonic()
    loops = [subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE, text=True) for _ in range(cores)]
    spent = sum(float(process.communicate()[0]) for process in loops)
    own = spent / (time.monotonic() - began)
    assert witness.look().others <= cores - own + 0.3


def record(*codes: str, state: str = "suspect", party: str = "machine", delay: float = 0.0) -> dict[str, Any]:
    return {
        "started": datetime.datetime.fromtimestamp(STARTED // S, datetime.UTC).isoformat(),
        "window": {"start_ns": 2 * S, "end_ns": 4 * S},
        "standstills": {"longest_at_ns": 3 * S, "longest_ns": 50 * MS},
        "workers": [{"run_delay_share": delay}],
        "verdict": {"state": state, "reasons": [{"code": code, "text": "", "party": party} for code in codes]},
        "findings": [],
    }


def overslept(began_ns: int, length_ns: int = 20 * MS) -> Seen:
    return Seen(((0, STARTED + began_ns, STARTED + began_ns + length_ns),), 0.0, 0.0)


@pytest.mark.parametrize(
    ("seen", "made", "is_confirmed"),
    [
        pytest.param(QUIET, record("late"), False, id="nothing was seen"),
        pytest.param(overslept(3 * S), record("late"), True, id="in the window"),
        pytest.param(overslept(1 * S), record("late"), False, id="before the window"),
        pytest.param(overslept(5 * S), record("late"), False, id="after the window"),
        pytest.param(overslept(3 * S), record("stood-still"), True, id="while it stood still"),
        pytest.param(overslept(2 * S), record("stood-still"), False, id="in the window, and not while it stood still"),
        pytest.param(overslept(3 * S), record("cut-short"), False, id="a code that no machine causes"),
        pytest.param(overslept(3 * S), record("saturated"), True, id="a limit that others set"),
        pytest.param(overslept(3 * S), record("saturated", party="loadkit"), False, id="our own limit"),
        pytest.param(Seen((), 0.03, 0.0), record("late"), True, id="stolen"),
        pytest.param(Seen((), 0.01, 0.0), record("late"), False, id="hardly anything stolen"),
        pytest.param(Seen((), 0.0, 0.2), record("run-delay", delay=0.3), True, id="others had the core"),
        pytest.param(Seen((), 0.0, 0.2), record("run-delay", delay=0.6), False, id="others had less than it waited"),
        pytest.param(Seen((), 0.0, 1.0), record("stood-still"), False, id="others had a core, and no sleep was long"),
    ],
)
def test_what_the_witnesses_saw_confirms_a_disturbance(seen: Seen, made: dict[str, Any], is_confirmed: bool) -> None:
    [reason] = made["verdict"]["reasons"]
    assert seen.confirms(made, reason) is is_confirmed


def ended(made: dict[str, Any], status: int = 0) -> Run:
    with subprocess.Popen(["sh", "-c", f"exit {status}"], text=True) as process:
        process.wait()
    return Run(process, Path(), made)


def row(*says: tuple[str, str], state: str = "valid", status: int = 0) -> Row:
    return Row("", lambda _stage: ended({}), dict(says), state, status)


STARVED = overslept(3 * S)
RESET = row(("connections-lost", "target"), state="invalid", status=4)


@pytest.mark.parametrize(
    ("expected", "run", "seen", "wrong"),
    [
        pytest.param(row(), ended(record(state="valid")), QUIET, "", id="sound"),
        pytest.param(row(), ended(record("late")), STARVED, "", id="sound, disturbed and confirmed"),
        pytest.param(row(), ended(record("late")), QUIET, "suspect, not valid", id="suspect, not confirmed"),
        pytest.param(
            row(),
            ended(record("blast-bound", party="loadkit")),
            STARVED,
            "a reason blast-bound",
            id="not the machine's",
        ),
        pytest.param(row(), ended(record("late", state="invalid"), 4), STARVED, "exit status 4", id="invalid"),
        pytest.param(
            row(), ended(record("schedule-missed", state="invalid"), 4), STARVED, "", id="invalid by the machine"
        ),
        pytest.param(
            row(),
            ended(record("schedule-missed", state="invalid"), 4),
            QUIET,
            "a reason schedule-missed",
            id="invalid by the machine, not confirmed",
        ),
        pytest.param(row(("few-samples", "request")), ended(record(state="valid")), QUIET, "no few-samples", id="none"),
        pytest.param(
            RESET, ended(record("connections-lost", state="invalid", party="target"), 4), QUIET, "", id="sabotaged"
        ),
        pytest.param(
            RESET,
            ended(record("connections-lost", state="invalid", party="loadkit"), 4),
            STARVED,
            "connections-lost names the loadkit",
            id="another party",
        ),
        pytest.param(
            RESET,
            ended(record("connections-lost", "worker-died", state="invalid", party="target"), 4),
            STARVED,
            "a reason worker-died",
            id="another reason besides",
        ),
        pytest.param(RESET, ended({}, 4), QUIET, "a record, or none", id="no record"),
    ],
)
def test_a_wrong_judgement_is_found(expected: Row, run: Run, seen: Seen, wrong: str) -> None:
    found = "; ".join(find_wrong(expected, run, seen))
    assert wrong in found
    assert bool(found) is bool(wrong)
