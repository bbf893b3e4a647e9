"""What this machine is and allows, read once, before anything is planned."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path

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


def read_host(proc: Path = Path("/proc")) -> Host:
    """Reads the facts; `proc` is another root in tests. Never fails: what cannot be read is None or Linux's default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = _numbers(proc / "sys/net/ipv4/ip_local_port_range", 2) or (32768, 60999)
    memory = _meminfo(proc)
    file_nr = _numbers(proc / "sys/fs/file-nr", 3)
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
        nr_open=_number(proc / "sys/fs/nr_open"),
        file_max=_number(proc / "sys/fs/file-max"),
        files_used=file_nr[0] if file_nr else None,
        somaxconn=_number(proc / "sys/net/core/somaxconn"),
        port_low=low,
        port_high=high,
        reserved_ports=_reserved(proc / "sys/net/ipv4/ip_local_reserved_ports", low, high),
        tw_reuse=_number(proc / "sys/net/ipv4/tcp_tw_reuse"),
    )


def raise_nofile() -> int:
    """Raises this process's soft limit of open files to the hard one and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _limit(hard)


def _limit(value: int) -> int:
    return 2**62 if value == resource.RLIM_INFINITY else value


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _numbers(path: Path, count: int) -> tuple[int, ...] | None:
    fields = _text(path).split()
    return tuple(int(field) for field in fields[:count]) if len(fields) >= count else None


def _number(path: Path) -> int | None:
    numbers = _numbers(path, 1)
    return numbers[0] if numbers else None


def _meminfo(proc: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(proc / "meminfo").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) >= 2}


def _cpu_model(proc: Path) -> str | None:
    for line in _text(proc / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def _reserved(path: Path, low: int, high: int) -> int:
    """Counts the reserved ports (`8080,9000-9010`) that lie inside the ephemeral range."""
    total = 0
    for part in _text(path).strip().split(","):
        first, _, last = part.partition("-")
        if first.strip().isdigit():
            total += max(0, min(high, int(last or first)) - max(low, int(first)) + 1)
    return total
