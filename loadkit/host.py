"""What this machine is and allows, read once, before anything is planned."""

from __future__ import annotations

import math
import os
import platform
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadkit.cgroup import CgroupLimits, read_cgroup
from loadkit.errors import PreflightError
from loadkit.procfs import text_of
from loadkit.sockets import LOOPBACK_ADDRESSES, count_loopback

__all__ = ["Host", "raise_nofile", "read_host"]


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of the machine. None where the machine does not say (a container may hide /proc/sys)."""

    system: str
    kernel: str
    machine: str
    cpu_model: str | None
    cpus: int
    cores: tuple[int, ...]  # the cores this process may run on
    memory_bytes: int | None
    memory_available_bytes: int | None
    nofile_soft: int
    nofile_hard: int
    nr_open: int | None
    file_max: int | None
    files_used: int | None
    somaxconn: int | None
    port_low: int
    port_high: int
    reserved_ports: int
    tw_reuse: int | None
    tw_reuse_delay_ms: int | None = None  # since Linux 6.14
    timestamps: int | None = None  # net.ipv4.tcp_timestamps
    loopback_addresses: int = LOOPBACK_ADDRESSES  # from 127.0.0.1 on
    tw_max: int | None = None
    time_waits: int | None = None
    syn_backlog: int | None = None
    syncookies: int | None = None
    page_bytes: int = 4096
    tcp_mem_pages: tuple[int, int, int] | None = None  # low, pressure, high: tcp(7)
    tcp_used_pages: int | None = None
    tcp_sockets: int | None = None
    conntrack_max: int | None = None  # None too where nf_conntrack is not loaded
    conntrack_used: int | None = None
    cgroup: CgroupLimits = field(default_factory=CgroupLimits)
    capabilities: int | None = None  # the effective set: capabilities(7), a bit each
    is_root: bool = False  # by its number, in whatever user namespace
    in_user_namespace: bool = False  # of our own: what root may do in it ends at what belongs to it
    can_set_net_sysctls: bool = True  # net.*, which go with the network namespace; docker mounts all read-only
    can_set_other_sysctls: bool = True
    seccomp: int | None = None  # proc(5): 0 none, 1 strict, 2 a filter
    refused_calls: tuple[str, ...] = ()  # system calls of ours that a filter does not let through
    nproc_soft: int | None = None
    tasks_of_user: int | None = None
    tasks: int | None = None
    tasks_seen: int | None = None  # those of this process's pid namespace, which pid_max is for
    pid_max: int | None = None
    threads_max: int | None = None
    epoll_watches: int | None = None  # that a user may have
    governor: str | None = None  # of the cores we may run on; several, where they differ
    clock_source: str | None = None
    steal_share: float | None = None  # of the CPU time since boot

    @property
    def worker_cores(self) -> tuple[int, ...]:
        """The cores that workers go to: of those we may run on as many as the control group's CPU time is enough for.

        More would take turns in using up a quota, and all stand still until its next period.
        """
        quota = self.cgroup.cpu_cores
        return self.cores if quota is None else self.cores[: max(1, math.ceil(quota))]

    @property
    def shared_cores(self) -> int:
        """How many cores this process shares with a server beside it: its control group's, or the machine's.

        An affinity mask takes none away: cores that are kept from us are there for the server.
        """
        quota = self.cgroup.cpu_cores
        limits = (self.cpus, self.cgroup.cpus, None if quota is None else max(1, math.ceil(quota)))
        return min(limit for limit in limits if limit is not None)

    @property
    def free_memory_bytes(self) -> int | None:
        """What is available on the machine, or within the control group where that is less."""
        limits = (self.memory_available_bytes, _room(self.cgroup.memory_max_bytes, self.cgroup.memory_used_bytes))
        return min((limit for limit in limits if limit is not None), default=None)


# The facts that are one number of one file below /proc/sys.
_SYSCTLS = {
    "nr_open": "fs/nr_open",
    "file_max": "fs/file-max",
    "epoll_watches": "fs/epoll/max_user_watches",
    "pid_max": "kernel/pid_max",
    "threads_max": "kernel/threads-max",
    "somaxconn": "net/core/somaxconn",
    "syn_backlog": "net/ipv4/tcp_max_syn_backlog",
    "syncookies": "net/ipv4/tcp_syncookies",
    "timestamps": "net/ipv4/tcp_timestamps",
    "tw_max": "net/ipv4/tcp_max_tw_buckets",
    "tw_reuse": "net/ipv4/tcp_tw_reuse",
    "tw_reuse_delay_ms": "net/ipv4/tcp_tw_reuse_delay",
    "conntrack_max": "net/netfilter/nf_conntrack_max",
    "conntrack_used": "net/netfilter/nf_conntrack_count",
}


def read_host(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Host:
    """Reads the facts; `proc` and `sys` are other roots in tests.

    Never fails: what cannot be read is None or Linux's default.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = _numbers(proc / "sys/net/ipv4/ip_local_port_range", 2) or (32768, 60999)
    memory = _meminfo(proc)
    file_nr = _numbers(proc / "sys/fs/file-nr", 3)
    tcp_mem = _numbers(proc / "sys/net/ipv4/tcp_mem", 3)
    sockets = _tcp_sockets(proc)
    return Host(
        system=platform.system(),
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_model=_cpu_model(proc),
        cpus=os.cpu_count() or 1,
        cores=tuple(sorted(os.sched_getaffinity(0))),
        memory_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        nofile_soft=_limit(soft),
        nofile_hard=_limit(hard),
        files_used=file_nr[0] if file_nr else None,
        port_low=low,
        port_high=high,
        reserved_ports=_reserved(proc / "sys/net/ipv4/ip_local_reserved_ports", low, high),
        loopback_addresses=count_loopback(),
        time_waits=sockets.get("tw"),
        page_bytes=resource.getpagesize(),
        tcp_mem_pages=(tcp_mem[0], tcp_mem[1], tcp_mem[2]) if tcp_mem else None,
        tcp_used_pages=sockets.get("mem"),
        tcp_sockets=sockets.get("inuse"),
        cgroup=read_cgroup(proc, sys),
        capabilities=_of_status(proc, "CapEff", 16),
        seccomp=_of_status(proc, "Seccomp", 10),
        refused_calls=tuple(_refused_calls()),
        is_root=os.getuid() == 0,
        in_user_namespace=_in_user_namespace(proc),
        can_set_net_sysctls=_can_write(proc / "sys/net/core/somaxconn"),
        can_set_other_sysctls=_can_write(proc / "sys/fs/file-max"),
        nproc_soft=_limit(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        tasks_of_user=_count_tasks(proc, os.getuid()),
        tasks=_tasks(proc),
        tasks_seen=_count_tasks(proc),
        governor=_governors(sys / "devices/system/cpu"),
        clock_source=_word(sys / "devices/system/clocksource/clocksource0/current_clocksource"),
        steal_share=_steal_share(proc),
        **{name: _number(proc / "sys" / path) for name, path in _SYSCTLS.items()},
    )


def raise_nofile() -> int:
    """Raises this process's soft limit of open files to the hard one and returns it. Raises PreflightError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # fs.nr_open was lowered since: getrlimit(2)
            raise PreflightError(
                f"the soft limit of open files, {soft:,}, cannot be raised to the hard one, {_limit(hard):,}, which is "
                f"above fs.nr_open: lower it there (`ulimit -Hn`)"
            ) from None
    return _limit(hard)


def _room(limit: int | None, used: int | None) -> int | None:
    return None if limit is None else max(0, limit - (used or 0))


def _limit(value: int) -> int:
    return 2**62 if value == resource.RLIM_INFINITY else value


def _numbers(path: Path, count: int) -> tuple[int, ...] | None:
    fields = text_of(path).split()
    return tuple(int(field) for field in fields[:count]) if len(fields) >= count else None


def _number(path: Path) -> int | None:
    numbers = _numbers(path, 1)
    return numbers[0] if numbers else None


def _word(path: Path) -> str | None:
    return text_of(path).strip() or None


def _meminfo(proc: Path) -> dict[str, int]:
    rows = (line.split() for line in text_of(proc / "meminfo").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) >= 2}


def _cpu_model(proc: Path) -> str | None:
    for line in text_of(proc / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def _reserved(path: Path, low: int, high: int) -> int:
    """Counts the reserved ports (`8080,9000-9010`) that lie inside the ephemeral range."""
    total = 0
    for part in text_of(path).strip().split(","):
        first, _, last = part.partition("-")
        if first.strip().isdigit():
            total += max(0, min(high, int(last or first)) - max(low, int(first)) + 1)
    return total


def _tcp_sockets(proc: Path) -> Mapping[str, int]:
    """Returns the pairs of the line `TCP: inuse 4 orphan 0 tw 0 alloc 6 mem 1`, IPv6 sockets counted in `inuse`."""
    found: dict[str, int] = {}
    for name in ("net/sockstat", "net/sockstat6"):
        for line in text_of(proc / name).splitlines():
            words = line.split()
            if words[:1] in (["TCP:"], ["TCP6:"]):
                for key, value in zip(words[1::2], words[2::2], strict=False):
                    found[key] = found.get(key, 0) + int(value)
    return found


def _of_status(proc: Path, key: str, base: int) -> int | None:
    for line in text_of(proc / "self/status").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1], base)
    return None


def _refused_calls() -> Iterator[str]:
    """Yields those of our system calls that do not work here, by making them without changing anything."""
    try:
        os.close(os.memfd_create("loadkit-probe"))
    except OSError:
        yield "memfd_create"
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except OSError:
        yield "sched_setaffinity"


def _in_user_namespace(proc: Path) -> bool:
    """Whether users here are others outside: only the first user namespace maps all of them to themselves."""
    fields = text_of(proc / "self/uid_map").split()
    return bool(fields) and fields != ["0", "0", "4294967295"]


def _can_write(sysctl: Path) -> bool:
    """Asks the kernel, which knows of read-only mounts and of whose the namespaces are (access(2))."""
    return os.access(sysctl, os.W_OK)


def _governors(cpus: Path) -> str | None:
    """Returns the frequency governors of the cores we may run on, each named once."""
    words = {_word(cpus / f"cpu{core}/cpufreq/scaling_governor") for core in os.sched_getaffinity(0)}
    return ", ".join(sorted(word for word in words if word)) or None


def _count_tasks(proc: Path, user: int | None = None) -> int | None:
    """Counts the tasks (processes and their threads) that are seen here, or those of a user.

    The second is what RLIMIT_NPROC limits (getrlimit(2)).
    """
    total = 0
    try:
        processes = [path / "task" for path in proc.iterdir() if path.name.isdigit()]
    except OSError:
        return None
    for tasks in processes:
        try:
            if user is None or tasks.stat().st_uid == user:
                total += len(os.listdir(tasks))  # noqa: PTH208 - a thousand Paths would only be counted
        except OSError:
            continue  # it has ended meanwhile
    return total or None


def _tasks(proc: Path) -> int | None:
    """Returns all the tasks there are: the second number of `2/345` in /proc/loadavg."""
    fields = text_of(proc / "loadavg").split()
    total = fields[3].partition("/")[2] if len(fields) > 3 else ""
    return int(total) if total.isdigit() else None


def _steal_share(proc: Path) -> float | None:
    """Returns the part of the CPU time that the hypervisor gave to others: proc_stat(5), the eighth column."""
    for line in text_of(proc / "stat").splitlines():
        if line.startswith("cpu "):
            ticks = [int(field) for field in line.split()[1:9]]
            # guest time, the columns behind, is in `user` already
            total = sum(ticks)
            return ticks[7] / total if len(ticks) == 8 and total else None
    return None
