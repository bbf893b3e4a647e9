"""System calls that a filter may refuse: docker's default lets all of loadkit's through, a stricter one may not."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level

__all__ = ["check_seccomp"]

_MODES = {0: "no filter of system calls", 1: "strict seccomp", 2: "a filter of system calls (seccomp)"}


def check_seccomp(demand: Demand) -> Iterator[Finding]:
    """Yields the finding on system calls, where the machine says whether there is a filter."""
    host = demand.host
    if host.seccomp is None:
        return
    seen = _MODES.get(host.seccomp, f"seccomp mode {host.seccomp}")
    needed = "memfd_create for the board, sched_setaffinity to pin workers"
    if not host.refused_calls:
        yield Finding("seccomp", Level.OK, seen, needed, in_runs=False)
        return
    refused = " and ".join(host.refused_calls)
    allowing = f"docker run --security-opt seccomp=PROFILE.json with one that allows {refused}"
    if "memfd_create" in host.refused_calls:
        why = "workers and parent share their figures in memory from memfd_create"
        yield Finding("seccomp", Level.FAIL, f"{seen}; {refused} refused", needed, why, allowing)
        return
    why = "a worker that cannot be pinned does not start"
    yield Finding(
        "seccomp", Level.WARN, f"{seen}; {refused} refused", needed, why, f"--no-pin, or {allowing}", in_runs=False
    )
