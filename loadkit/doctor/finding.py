"""One line of the doctor."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Finding", "Level", "can_work", "failing", "quoted", "sysctl_fix", "warned"]


class Level(enum.StrEnum):
    """How bad it is. `warn` works, but slower or less surely than it could."""

    FAIL = "fail"
    WARN = "warn"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was examined. `why` and `fix` are empty if all is well; `fix` is a line to paste.

    `sysctls` are the assignments in `fix`. `in_runs` says whether blast and serve report it before they start: they
    report what limits the run that was requested, not what makes any run on this machine a little less exact.
    """

    code: str
    level: Level
    seen: str
    needed: str
    why: str = ""
    fix: str = ""
    sysctls: tuple[str, ...] = ()
    in_runs: bool = True

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.code}: {self.seen}; needed: {self.needed}; {self.why}; fix: {self.fix}"


def failing(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Returns those that stand in the way."""
    return tuple(finding for finding in findings if finding.level is Level.FAIL)


def warned(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Returns those that do not stand in the way, but are worth fixing."""
    return tuple(finding for finding in findings if finding.level is Level.WARN)


def can_work(findings: Sequence[Finding]) -> bool:
    """Whether nothing stands in the way; warnings do not."""
    return not failing(findings)


# The sysctls that each network namespace, and so each container, has for itself. The others are for the whole machine,
# and `docker run --sysctl` refuses them.
_OF_A_NAMESPACE = (
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv6.conf.lo.",
)


def sysctl_fix(assignment: str) -> str:
    """Returns the lines that set it: as root, and for a container where it can have one of its own."""
    text = f"sysctl -w {quoted(assignment)}"
    if assignment.startswith(_OF_A_NAMESPACE):
        return f"{text}, or docker run --sysctl {quoted(assignment)}"
    return text


def quoted(assignment: str) -> str:
    """Returns the assignment as a shell takes it."""
    name, _, value = assignment.partition("=")
    return f'{name}="{value}"' if " " in value else assignment
