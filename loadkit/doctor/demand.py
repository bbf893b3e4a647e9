"""What a run would ask of the machine: the sums that the checks share, made by the plan's own functions."""

from __future__ import annotations

from dataclasses import dataclass

from loadkit.errors import PreflightError
from loadkit.host import Host
from loadkit.plan.addresses import is_loopback
from loadkit.plan.build import IMBALANCE, blast_cores, workers_for
from loadkit.plan.model import Target

__all__ = ["Demand"]


@dataclass(frozen=True, slots=True)
class Demand:
    """`connections` of `host` against `target`; None is an embedded server."""

    host: Host
    connections: int
    target: Target | None

    @property
    def embedded(self) -> bool:
        """Whether loadkit is the serve end too."""
        return self.target is None

    @property
    def local(self) -> bool:
        """Whether both ends of a connection live in this machine's kernel."""
        return self.target is None or all(is_loopback(address) for address in self.target.addresses)

    @property
    def fds(self) -> int:
        """File descriptors on this machine: one for each end that is here."""
        return self.connections * (2 if self.local else 1)

    @property
    def blast_workers(self) -> int:
        """Processes of the blast end, 0 where the fd limit is too low for any."""
        cores, _ = blast_cores(self.host, self.embedded)
        return min(self.connections, max(len(cores), self._processes(self.connections)))

    @property
    def serve_workers(self) -> int:
        """Processes of the embedded serve end, 0 without one."""
        if not self.embedded:
            return 0
        _, cores = blast_cores(self.host, embedded=True)
        return max(len(cores), self._processes(round(self.connections * IMBALANCE)))

    def _processes(self, connections: int) -> int:
        try:
            return workers_for(connections, self.host)
        except PreflightError:
            return 0
