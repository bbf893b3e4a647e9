"""Findings for people: the conclusion, what fails, what is worth fixing, and last what is well."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadkit.doctor.check import summary
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.printable import page, wrapped

__all__ = ["as_text"]

_WIDTH = 100
_ALTERNATIVES = re.compile(r"[,;] or ")
_WORST_FIRST = tuple(Level)


def as_text(demand: Demand, findings: Sequence[Finding]) -> str:
    """Returns the conclusion, then the findings, the failing ones first, each with why and fix."""
    lines = wrapped(summary(demand, findings), _WIDTH, break_on_hyphens=False)
    width = max((len(finding.code) for finding in findings), default=0)
    after_reason = True
    for finding in sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.level)):
        if after_reason or finding.why:
            lines.append("")
        after_reason = bool(finding.why)
        lines += _lines(finding, width)
    return page("\n".join(lines))


def _lines(finding: Finding, width: int) -> list[str]:
    indent = " " * (width + 8)
    lines = _wrapped(
        f"{finding.level.value:<4}  {finding.code:<{width}}  ", indent, f"{finding.seen}; needed: {finding.needed}"
    )
    if finding.why:
        lines += _wrapped(indent, indent, finding.why)
    if finding.fix:
        # One line per way out, unbroken, so that it can be pasted.
        first, *others = _ALTERNATIVES.split(finding.fix)
        lines.append(f"{indent}fix: {first}")
        lines += [f"{indent}  or {other}" for other in others]
    return lines


def _wrapped(first: str, indent: str, text: str) -> list[str]:
    return wrapped(
        text, _WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
