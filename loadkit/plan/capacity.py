"""How many connections fit into a process, by its files, and between two addresses, by their ports."""

from __future__ import annotations

from dataclasses import replace

from loadkit.errors import PreflightError
from loadkit.host import Host
from loadkit.sockets import Sockets

__all__ = ["FD_LEAST", "IMBALANCE", "busiest", "fd_limit_for", "fd_reserve", "ports_of", "workers_for"]

# File descriptors that a worker needs beside its connections: interpreter, loop, timers, control, listeners, libraries
# that are loaded late. The first is kept free, or a quarter of a low limit; with fewer than the second it cannot work.
_FD_RESERVE, FD_LEAST = 200, 36
IMBALANCE = 1.15


def fd_reserve(host: Host) -> int:
    """Returns how many of a process's file descriptors are not for connections."""
    return max(FD_LEAST, min(_FD_RESERVE, host.nofile_hard // 4))


def fd_limit_for(connections: int, host: Host) -> int:
    """Returns the lowest limit of open files with which a process holds so many connections."""
    limit = connections + FD_LEAST
    while limit - fd_reserve(replace(host, nofile_hard=limit)) < connections:
        limit += 1
    return limit


def workers_for(connections: int, host: Host) -> int:
    """Returns how many processes `connections` need for their fds. Raises PreflightError if a process can hold none."""
    budget = host.nofile_hard - fd_reserve(host)
    if budget < 1:
        raise PreflightError(
            f"the hard limit of open files is {host.nofile_hard:,} per process, and a worker needs {FD_LEAST} for "
            f"itself; raise it: ulimit -Hn 65536 (as root), docker run --ulimit nofile=65536, systemd LimitNOFILE=65536"
        )
    return -(-connections // budget)


def busiest(connections: int, workers: int) -> int:
    """Returns how many connections the busiest worker of the serve end has to have room for (SO_REUSEPORT hashes)."""
    return connections if workers == 1 else -(-round(connections * IMBALANCE) // workers)


def ports_of(host: Host, sockets: Sockets | None = None, is_embedded: bool = False) -> int:
    """Returns how many ports connect() may choose from for each (source, destination, destination port).

    A port that a socket listens on, at any address, is not among them; an embedded server will take one more.
    """
    bound = (len(sockets.bound) if sockets else 0) + is_embedded
    return max(0, host.port_high - host.port_low + 1 - host.reserved_ports - bound)
