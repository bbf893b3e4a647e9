"""What this machine did to whatever ran on it: a process per core that sleeps 1 ms again and again, and CPU time.

A run that says that it was disturbed is believed if a witness saw it too: it has nothing in common with loadkit but the
machine. CPU time is the kernel's account of what the host took, and of what other processes than a test's had: a slice
of theirs is 3 ms, so that ten per second change a p99 of 100 us, and no sleep is 10 ms too long for it.

`python witness.py CORE` notes each sleep that took more than 10 ms longer than asked; for each line on its
standard input it prints those since the line before, as JSON: [[began, ended], …], wall-clock ns. It ends with it.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLEEP_NS, OVERSLEPT_NS = 1_000_000, 10_000_000
# A hypervisor takes some thousandths of a machine all the time. This much is a disturbance (report/rules has the same).
STOLEN = 0.02
# From a run's start by the wall clock until its own clock starts: the parent looks at processes and counters meanwhile.
SLACK_NS = 300_000_000

# Other processes' CPU time, in cores, that keeps a worker waiting: a tenth, as for a run delay (report/evidence/).
OTHERS = 0.1

# Before all others, so that what a process reaches is its own limit. Where the kernel groups processes by their session
# (sched(7), autogroup), the nice level of a process counts within it alone: it has to be in one of its own.
FIRST = ("sh", "-c", 'echo -20 > /proc/self/autogroup; exec nice -n -20 "$@"', "sh")
# How often a test is tried that a machine disturbs each time.
TRIES = 5

# What a machine may have caused: each of the first, and the others where they name it.
CODES = ("stood-still", "late", "run-delay", "shared-core", "throttled", "connect-bound")
IF_NAMED = ("schedule-missed", "saturated", "blast-bound")


@dataclass(frozen=True)
class Seen:
    """What the witnesses saw in a while: sleeps that were too long, (core, began, ended), and where CPU time went.

    `stolen` is a part of all CPU time, `others` are how many cores other processes had in the mean.
    """

    overslept: tuple[tuple[int, int, int], ...]
    stolen: float
    others: float

    def __str__(self) -> str:
        longest = max((ended - began for _core, began, ended in self.overslept), default=0)
        cores = sorted({core for core, _began, _ended in self.overslept})
        return (
            f"the witnesses overslept {len(self.overslept)} times (cores {cores}, at most {longest / 1e6:.0f} ms), "
            f"{self.stolen:.1%} of the CPU time was stolen, other processes had {self.others:.2f} cores"
        )

    @property
    def is_disturbed(self) -> bool:
        """Whether a process that had nothing to do but sleep was kept from its core, or the host took it."""
        return bool(self.overslept) or self.stolen > STOLEN

    def confirms(self, record: dict[str, Any], reason: dict[str, Any] | None = None) -> bool:
        """Whether the machine disturbed the run's measured part, so that there is this reason."""
        window, stood = record["window"], record["standstills"]
        code, by_machine = (reason["code"], reason["party"] == "machine") if reason else ("", True)
        if window is None or (reason and code not in CODES and not (by_machine and code in IF_NAMED)):
            return False
        if self.stolen > STOLEN:
            return True
        start = _wall_ns(record["started"])
        if code == "stood-still":  # where the longest of them was
            return self._saw(start + stood["longest_at_ns"], stood["longest_ns"])
        longest = max((worker["run_delay_share"] or 0.0 for worker in record["workers"]), default=0.0)
        if self.others >= max(OTHERS, longest / 2):
            return True
        return self._saw(start + window["start_ns"], window["end_ns"] - window["start_ns"])

    def _saw(self, began: int, length_ns: int) -> bool:
        return any(
            began - SLACK_NS < to and since < began + length_ns + SLACK_NS for _core, since, to in self.overslept
        )


def _wall_ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1e9)


class Witness:
    """The witnesses of all cores that this process may use, until `close`, perhaps behind another command."""

    def __init__(self, behind: tuple[str, ...] = ()) -> None:
        self.processes = {
            core: subprocess.Popen(
                [*behind, sys.executable, __file__, str(core)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if behind else None,  # of a machine that lets nothing go first
                text=True,
                start_new_session=True,
            )
            for core in sorted(os.sched_getaffinity(0))
        }
        self._cpu = _read_cpu()
        self.look()

    def look(self) -> Seen:
        """Returns what they saw since the last look."""
        overslept = []
        for core, process in self.processes.items():
            assert process.stdin
            assert process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            overslept += [(core, began, ended) for began, ended in json.loads(process.stdout.readline())]
        before, self._cpu = self._cpu, _read_cpu()
        stolen, busy, ticks, own = (now - then for now, then in zip(self._cpu, before, strict=True))
        cores = os.cpu_count() or 1
        return (
            Seen(tuple(overslept), stolen / ticks, max(0, busy - own) * cores / ticks) if ticks else Seen((), 0.0, 0.0)
        )

    def attempt(self, test: Callable[[], None]) -> None:
        """Does it, and again as long as something is not `timely` while the witnesses see a disturbance."""
        for left in reversed(range(TRIES)):
            self.look()
            try:
                test()
                return
            except UntimelyError as failure:
                seen = self.look()
                if not left or not seen.is_disturbed:
                    failure.add_note(str(seen))
                    raise

    def close(self) -> None:
        """Ends them."""
        for process in self.processes.values():
            process.communicate(timeout=60)


class UntimelyError(AssertionError):
    """What this machine may have caused was not as it should be."""


def timely(is_so: bool, *what: object) -> None:
    """Asserts what holds only while this machine lets the processes of a test run, in one that is `witnessed`."""
    if not is_so:
        raise UntimelyError(*what)


def witnessed(behind: tuple[str, ...] = FIRST) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator for a test whose processes are behind that command.

    It is tried again if something was not `timely` and witnesses behind that command saw a disturbance meanwhile.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def attempt(*args: Any, **kwargs: Any) -> None:
            with contextlib.closing(Witness(behind)) as witness:
                witness.attempt(lambda: test(*args, **kwargs))

        return attempt

    return decorate


def _read_cpu() -> tuple[int, int, int, int]:
    """Returns ticks: stolen, busy, all (proc(5): user to steal; guest is part of user), and those of our processes."""
    user, nice, system, idle, waiting, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system
    return steal, busy, busy + idle + waiting + irq + softirq + steal, _own_ticks()


def _own_ticks() -> int:
    """Returns the CPU time of this process, of all that it started, and of all those that they waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(pid, 0) for pid in own)


def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    overslept: list[tuple[int, int]] = []
    while True:
        began = time.monotonic_ns()
        readable, _, _ = select.select([sys.stdin], [], [], SLEEP_NS / 1e9)
        ended = time.monotonic_ns()
        if ended - began > SLEEP_NS + OVERSLEPT_NS:
            wall = time.time_ns()
            overslept.append((wall - (ended - began), wall))
        if readable:
            if not sys.stdin.readline():
                return
            print(json.dumps(overslept), flush=True)
            overslept.clear()


if __name__ == "__main__":
    main()
