"""Processes: how many the user, the control group and the machine let us have."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.host import Host

__all__ = ["check_processes"]

# Beside the workers: multiprocessing's fork server and resource tracker, and a thread or two of libraries.
_OTHERS = 8
_EXEMPT = 1 << 21 | 1 << 24  # CAP_SYS_ADMIN, CAP_SYS_RESOURCE


def check_processes(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on RLIMIT_NPROC, the group's pids.max, kernel.pid_max and kernel.threads-max."""
    host = demand.host
    wanted = demand.workers + _OTHERS
    needed = f"{wanted:,} more ({demand.workers:,} workers and {_OTHERS} beside them)"
    if host.nproc_soft is not None and host.tasks_of_user is not None:
        yield _nproc(demand, host.nproc_soft, host.tasks_of_user, wanted, needed)
    if host.cgroup.pids_max is not None:
        used = host.cgroup.pids_used or 0
        room = max(wanted + used, 2 * host.cgroup.pids_max)
        fix = f"docker run --pids-limit {room}, or systemd TasksMax={room}"
        yield _limited("pids", "the control group's pids.max", host.cgroup.pids_max, used, wanted, needed, fix)
    for code, limit in (("pid_max", host.pid_max), ("threads-max", host.threads_max)):
        if limit is not None and host.tasks is not None:
            sysctl = f"kernel.{code}={max(2 * limit, host.tasks + wanted)}"
            found = _limited(code, f"kernel.{code}", limit, host.tasks, wanted, needed, sysctl_fix(sysctl), sysctl)
            yield found


def _nproc(demand: Demand, limit: int, used: int, wanted: int, needed: str) -> Finding:
    if limit >= 2**62:
        return Finding("nproc", Level.OK, "no limit of processes a user", needed)
    if _is_exempt(demand.host):
        return Finding("nproc", Level.OK, f"limit {limit:,} a user, which is not for root", needed)
    room = used + 2 * wanted
    fix = f"ulimit -u {room}, or docker run --ulimit nproc={room}:{room}, or systemd LimitNPROC={room}"
    return _limited("nproc", "soft limit of processes a user", limit, used, wanted, needed, fix)


def _is_exempt(host: Host) -> bool:
    """Whether RLIMIT_NPROC is not for us: copy_process in kernel/fork.c. A container's own root is nobody outside."""
    return not host.in_user_namespace and (host.is_root or bool((host.capabilities or 0) & _EXEMPT))


def _limited(code: str, name: str, limit: int, used: int, wanted: int, needed: str, fix: str, *sysctls: str) -> Finding:
    seen = f"{name} {limit:,}, {used:,} in use"
    free = max(0, limit - used)
    if wanted <= free:
        return Finding(code, Level.OK, seen, needed)
    why = f"{limit:,} - {used:,} in use = {free:,} processes left, and {wanted:,} are needed"
    return Finding(code, Level.FAIL, seen, needed, why, fix, sysctls)
