"""Findings as a shell script of sysctl lines, for root to read and run. loadkit itself sets none."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.doctor.check import summary
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level, quoted
from loadkit.printable import printable

__all__ = ["as_script"]


def as_script(demand: Demand, findings: Sequence[Finding]) -> str:
    """Returns the script: a line for each sysctl that is not ok, and a comment for each fix that is not a sysctl."""
    lines = [
        "#!/bin/sh",
        "# Written by `loadkit doctor --fix-script`, which applied none of it. Read it, then run it as root.",
        "# What it sets lasts until the next boot; lines of the same form without `sysctl -w` in /etc/sysctl.d/ last.",
        f"# {printable(summary(demand, findings))}",
    ]
    set_already: set[str] = set()
    to_fix = [finding for finding in findings if finding.level is not Level.OK]
    for finding in to_fix:
        lines += ["", f"# {finding.code}: {printable(finding.seen)}; needed: {printable(finding.needed)}"]
        if not finding.sysctls:
            lines.append(f"# not a sysctl: {printable(finding.fix)}")
        for sysctl in finding.sysctls:
            if sysctl not in set_already:
                lines.append(f"sysctl -w {quoted(sysctl)}")
            set_already.add(sysctl)
    if not to_fix:
        lines += ["", "# Nothing needs fixing."]
    return "\n".join(lines) + "\n"
