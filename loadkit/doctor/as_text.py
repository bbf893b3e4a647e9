"""Findings for people: the conclusion, what fails, what is worth fixing, and last what is well."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadkit.doctor.check import summary
from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level
from loadkit.printable import WIDTH, page, wrapped

__all__ = ["as_text"]

_ALTERNATIVES = re.compile(r"[,;] or ")
_WORST_FIRST = tuple(Level)


def as_text(demand: Demand, findings: Sequence[Finding], width: int = WIDTH) -> str:
    """Returns the conclusion, then the findings, the failing ones first, each with why and fix.

    Only lines that are there to be pasted may be wider than `width` columns.
    """
    lines = wrapped(summary(demand, findings), width, break_on_hyphens=False)
    names = max((len(finding.code) for finding in findings), default=0)
    after_reason = True
    for finding in sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.level)):
        if after_reason or finding.why:
            lines.append("")
        after_reason = bool(finding.why)
        lines += _lines(finding, names, width)
    return page("\n".join(lines))


def _lines(finding: Finding, names: int, width: int) -> list[str]:
    indent = " " * (names + 8)
    lines = _wrapped(
        f"{finding.level.value:<4}  {finding.code:<{names}}  ",
        indent,
        f"{finding.seen}; needed: {finding.needed}",
        width,
    )
    if finding.why:
        lines += _wrapped(indent, indent, finding.why, width)
    if finding.fix:
        # One line per way out, unbroken, so that it can be pasted.
        first, *others = _ALTERNATIVES.split(finding.fix)
        lines.append(f"{indent}fix: {first}")
        lines += [f"{indent}  or {other}" for other in others]
    return lines


def _wrapped(first: str, indent: str, text: str, width: int) -> list[str]:
    return wrapped(
        text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
