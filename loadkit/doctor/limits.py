"""File descriptors: what a process may open, what a process may be allowed, and what the machine has."""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, sysctl_fix
from loadkit.plan.capacity import FD_LEAST, IMBALANCE, busiest, fd_limit_for, fd_reserve
from loadkit.plan.cores import blast_cores

__all__ = ["check_limits"]

_CAP_SYS_ADMIN = 1 << 21  # alloc_empty_file in fs/file_table.c
_ENOUGH_FDS = 65_536  # where a number of connections was not given
# What the process that starts the workers needs for each of them: a pipe, the pipe that reports its end, and a pidfd.
# For itself: both boards, signals, the process that workers are forked from, and what is open for a moment: 9 sufficed.
_PARENT_FDS_PER_WORKER, _PARENT_FDS = 3, 16


def check_limits(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on nofile, fs.nr_open, fs.file-max and epoll; limits that the machine hides are left out."""
    yield _nofile(demand)
    yield from _parent(demand)
    if demand.host.nr_open is not None:
        yield _nr_open(demand, demand.host.nr_open)
    if demand.host.file_max is not None:
        yield _file_max(demand, demand.host.file_max)
    if demand.host.epoll_watches is not None:
        yield _epoll(demand, demand.host.epoll_watches)


def _one_a_core(demand: Demand) -> int:
    """Returns the fds that a process needs if each core has no more than one process per end."""
    blast, serve = blast_cores(demand.host, demand.embedded, demand.local)
    worst = 0
    if not demand.serves_alone:
        worst = -(-demand.connections // max(1, len(blast)))
    if demand.serves_alone:
        worst = busiest(demand.connections, max(1, len(serve)))
    elif demand.embedded:  # where the hash would be too uneven, the plan gives each worker addresses of its own
        worst = max(worst, -(-demand.connections // max(1, len(serve))))
    return fd_limit_for(worst, demand.host)


def _nofile(demand: Demand) -> Finding:
    soft, hard = demand.host.nofile_soft, demand.host.nofile_hard
    wanted = _one_a_core(demand)
    enough = wanted if demand.connections else _ENOUGH_FDS
    seen = f"soft {_limit(soft)}, hard {_limit(hard)} per process (loadkit raises soft to hard)"
    fix = _raise_to(enough)
    reserve = fd_reserve(demand.host)
    budget = hard - reserve
    if budget < 1:
        why = f"a worker needs {FD_LEAST} for itself, which leaves {max(0, budget)} of {hard:,} for connections"
        return Finding("nofile", Level.FAIL, seen, f"more than {FD_LEAST}", why, fix)
    if wanted <= hard:
        return Finding("nofile", Level.OK, seen, f"{wanted:,} with one process per core")
    needed = f"{wanted:,} for one process per core"
    sum_ = f"{demand.connections:,} connections / ({hard:,} - {reserve} of a worker's own)"
    if demand.serves_alone and busiest(demand.connections, demand.serve_workers) > budget:
        spread = round(demand.connections * IMBALANCE)
        why = f"{demand.serve_workers:,} workers x {budget:,} = {demand.serve_workers * budget:,} connections at most"
        return Finding("nofile", Level.WARN, seen, needed, why, f"-w {-(-spread // budget)}, or {fix}")
    needs = -(-demand.connections // budget)
    why = f"{sum_} = {needs:,}: {_processes(demand, needs)}, more than the cores, so they take turns"
    return Finding("nofile", Level.WARN, seen, needed, why, fix)


def _parent(demand: Demand) -> Iterator[Finding]:
    """Judges the process that starts the workers, if it cannot have as many files open as that takes."""
    hard, workers, open_files = demand.host.nofile_hard, demand.workers, demand.open_files
    addresses = len(demand.target.addresses) if demand.target and demand.embedded else int(demand.serves_alone)
    wanted = _PARENT_FDS_PER_WORKER * workers + addresses + _PARENT_FDS + open_files
    if wanted <= hard:
        return
    why = (
        f"{_PARENT_FDS_PER_WORKER} for each of {workers:,} workers + {addresses} to hold addresses + "
        f"{_PARENT_FDS} of its own + {open_files} open = {wanted:,}, more than {hard:,}"
    )
    seen = f"hard {_limit(hard)} for the process that starts the workers"
    yield Finding("parent", Level.FAIL, seen, f"{wanted:,}", why, _raise_to(wanted))


def _raise_to(files: int) -> str:
    return (
        f"ulimit -Hn {files} (as root), or docker run --ulimit nofile={files}:{files}, or systemd LimitNOFILE={files}"
    )


def _processes(demand: Demand, needs: int) -> str:
    if demand.serves_alone:
        return f"{demand.serve_workers:,} processes to serve"
    serve = f" and {demand.serve_workers:,} to serve" if demand.embedded else ""
    asked = " as --workers asks" if demand.blast_workers > max(needs, len(demand.host.worker_cores)) else ""
    return f"{demand.blast_workers:,} to blast{asked}{serve}"


def _nr_open(demand: Demand, nr_open: int) -> Finding:
    wanted = _one_a_core(demand)
    seen = f"fs.nr_open {nr_open:,}"
    if nr_open >= wanted or demand.host.nofile_hard >= wanted:
        return Finding("nr_open", Level.OK, seen, f"{wanted:,}", in_runs=False)
    why = "it caps every limit of open files"
    sysctl = f"fs.nr_open={wanted}"
    # Raising it does not help a run that is limited by nofile.
    return Finding("nr_open", Level.WARN, seen, f"{wanted:,}", why, sysctl_fix(sysctl), (sysctl,), in_runs=False)


def _file_max(demand: Demand, file_max: int) -> Finding:
    used = demand.host.files_used or 0
    free, wanted = file_max - used, demand.connections * demand.ends
    seen = f"fs.file-max {file_max:,}, {used:,} in use"
    sides = "2 fds per connection, both ends are here" if demand.local else "1 fd per connection"
    needed = f"{wanted:,} ({sides})"
    if wanted <= free:
        return Finding("file-max", Level.OK, seen, needed)
    if (demand.host.capabilities or 0) & _CAP_SYS_ADMIN and not demand.host.in_user_namespace:
        return Finding("file-max", Level.OK, f"{seen}, which is no limit with CAP_SYS_ADMIN", needed)
    why = f"the whole machine has {max(0, free):,} files left and {wanted:,} are needed"
    sysctl = f"fs.file-max={used + 2 * wanted}"
    return Finding("file-max", Level.FAIL, seen, needed, why, sysctl_fix(sysctl), (sysctl,))


def _epoll(demand: Demand, watches: int) -> Finding:
    """Judges fs.epoll.max_user_watches: 4 % of the memory in watches (eventpoll.c), so mostly memory ends before it."""
    wanted = demand.connections * ((not demand.serves_alone) + (demand.embedded or demand.serves_alone))
    seen, needed = f"fs.epoll.max_user_watches {watches:,}", f"{wanted:,}, one per end of loadkit"
    if wanted <= watches:
        return Finding("epoll", Level.OK, seen, needed)
    why = f"a user may watch {watches:,} sockets and {wanted:,} are needed; beyond that epoll_ctl fails with ENOSPC"
    sysctl = f"fs.epoll.max_user_watches={2 * wanted}"
    return Finding("epoll", Level.FAIL, seen, needed, why, sysctl_fix(sysctl), (sysctl,))


def _limit(value: int) -> str:
    return "unlimited" if value >= 2**62 else f"{value:,}"
