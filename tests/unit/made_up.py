"""A host that tests can shape: two cores, the limits of a small cloud machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadkit.host import Host

_HOST = Host(
    system="Linux",
    kernel="6.18.0",
    machine="x86_64",
    cpu_model="Imagined CPU",
    cpus=2,
    cores=(0, 1),
    memory_bytes=8 * 2**30,
    memory_available_bytes=6 * 2**30,
    nofile_soft=1024,
    nofile_hard=20_000,
    nr_open=1_048_576,
    file_max=2_000_000,
    files_used=1_000,
    somaxconn=4096,
    port_low=32_768,
    port_high=60_999,
    reserved_ports=0,
    tw_reuse=2,
)


def made_up_host(**facts: Any) -> Host:
    """Returns the made-up host with some facts changed."""
    return replace(_HOST, **facts)
