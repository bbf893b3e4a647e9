"""Which cores each end runs on, and whether its workers may keep them by not sleeping."""

from __future__ import annotations

from loadkit.host import Host
from loadkit.plan.capacity import workers_for
from loadkit.plan.serve import ServePlan
from loadkit.plan.target import Target
from loadkit.profile.blast import Profile

__all__ = ["blast_cores", "cores_for", "stays_awake"]


def cores_for(
    profile: Profile, connections: int, target: Target | None, host: Host
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns (blast end's cores, serve end's cores) for so many connections; `target` None is an embedded server."""
    is_beside = target is not None and target.is_local
    blast, serve = blast_cores(host, target is None, is_beside)
    if target is None and workers_for(connections, host) > len(serve):
        # More processes than cores, for their fds. They take turns, so each end may have all cores; connecting costs
        # the blast end three times what accepting costs the other.
        return host.worker_cores, (*host.worker_cores[1:], host.worker_cores[0])
    if is_beside and max(int(profile.workers or 0), workers_for(connections, host)) > len(blast):
        # That many were asked for, or their fds are needed: on all cores they are in each other's way the least.
        return host.worker_cores, serve
    return blast, serve


def blast_cores(host: Host, embedded: bool, is_local: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns (blast end's cores, serve end's cores); an embedded server gets the other half of the machine.

    Another server on this machine (`is_local`) is left the other half too, but loadkit cannot say where that runs. It
    has the first cores more often than the last ones: `loadkit serve -w 1` is pinned to the first.
    """
    cores = host.worker_cores
    if embedded and len(cores) >= 2:
        half = (len(cores) + 1) // 2
        return cores[:half], cores[half:]
    if is_local and not embedded:
        return cores[-_half(host) :], cores
    return cores, cores


def stays_awake(workers: int, cores: tuple[int, ...], target: Target, serve: ServePlan | None, host: Host) -> bool:
    """Whether blast workers may stay awake before a message is due: only if that takes no core from another process."""
    if target.is_local and not target.embedded:
        return _leaves_cores(workers, host)
    return _has_cores_of_its_own(workers, cores, serve, host)


def _half(host: Host) -> int:
    """Returns the most workers that leave a server on this machine its cores."""
    return (host.shared_cores + 1) // 2


def _has_cores_of_its_own(workers: int, cores: tuple[int, ...], serve: ServePlan | None, host: Host) -> bool:
    """Whether no other worker waits for the core that a blast worker keeps by not sleeping."""
    both_ends = workers + (serve.workers if serve else 0)
    apart = not serve or not set(cores) & set(serve.cores or cores)
    return workers <= len(cores) if apart else both_ends <= len(host.worker_cores)


def _leaves_cores(workers: int, host: Host) -> bool:
    """Whether a server on this machine can have a core that no worker keeps by not sleeping.

    20,000/s at an asyncio server on the same two cores: p99 4.6 to 5.2 ms with two workers that stay awake, 0.2 to
    0.3 ms with one, in six of six pairs (2-core VM, Linux 6.18).
    """
    return workers <= _half(host) and workers < host.shared_cores
