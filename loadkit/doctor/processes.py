"""Processes: how many the user, the control group and the machine let us have."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.host import Host

__all__ = ["check_processes"]

_MOST_THREADS = 64  # that numpy's OpenBLAS is built for
_EXEMPT = 1 << 21 | 1 << 24  # CAP_SYS_ADMIN, CAP_SYS_RESOURCE


def check_processes(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on RLIMIT_NPROC, the group's pids.max, kernel.pid_max and kernel.threads-max."""
    host = demand.host
    # The process that workers are forked from, and, when numpy is imported, a thread for each core but the first.
    others = min(len(host.cores), _MOST_THREADS)
    wanted = demand.workers + others
    needed = f"{wanted:,} more ({demand.workers:,} workers and {others} beside them)"
    if host.nproc_soft is not None and host.tasks_of_user is not None:
        yield _nproc(demand, host.nproc_soft, host.tasks_of_user, wanted, needed)
    if host.cgroup.pids_max is not None:
        used = host.cgroup.pids_used or 0
        room = max(wanted + used, 2 * host.cgroup.pids_max)
        fix = f"docker run --pids-limit {room}, or systemd TasksMax={room}"
        yield _limited("pids", "the control group's pids.max", host.cgroup.pids_max, used, wanted, needed, fix)
    # Since Linux 6.14 each pid namespace has a pid_max of its own; tasks of other namespaces have no number in it.
    limits = (("pid_max", host.pid_max, host.tasks_seen), ("threads-max", host.threads_max, host.tasks))
    for code, limit, tasks in limits:
        if limit is not None and tasks is not None:
            sysctl = f"kernel.{code}={max(2 * limit, tasks + wanted)}"
            yield _limited(code, f"kernel.{code}", limit, tasks, wanted, needed, sysctl_fix(sysctl), sysctl)


def _nproc(demand: Demand, limit: int, used: int, wanted: int, needed: str) -> Finding:
    if limit >= 2**62:
        return Finding("nproc", Level.OK, "no limit of processes per user", needed)
    if _is_exempt(demand.host):
        return Finding("nproc", Level.OK, f"limit {limit:,} per user, which root is exempt from", needed)
    room = used + 2 * wanted
    fix = f"ulimit -u {room}, or docker run --ulimit nproc={room}:{room}, or systemd LimitNPROC={room}"
    return _limited("nproc", "soft limit of processes per user", limit, used, wanted, needed, fix)


def _is_exempt(host: Host) -> bool:
    """Whether RLIMIT_NPROC does not apply: copy_process in kernel/fork.c. A namespace's root is no root outside."""
    return not host.in_user_namespace and (host.is_root or bool((host.capabilities or 0) & _EXEMPT))


def _limited(code: str, name: str, limit: int, used: int, wanted: int, needed: str, fix: str, *sysctls: str) -> Finding:
    seen = f"{name} {limit:,}, {used:,} in use"
    free = max(0, limit - used)
    if wanted <= free:
        return Finding(code, Level.OK, seen, needed)
    why = f"{limit:,} - {used:,} in use = {free:,} processes left, and {wanted:,} are needed"
    return Finding(code, Level.FAIL, seen, needed, why, fix, sysctls)
