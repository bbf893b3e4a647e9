"""A rule: what kind of run it speaks of, and what it says then. The verdict and the findings are tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from loadkit.report.evidence import Evidence
from loadkit.report.record import Party

__all__ = ["Rule", "Said", "apply"]


class Said(NamedTuple):
    """What a rule has to say: what was seen with its number, why it matters, what to do; and where the cause lies."""

    text: str
    party: Party


class Rule(NamedTuple):
    """`kind` is the kind of run in words, `parties` are those it may name, `look` yields nothing or what it saw."""

    code: str
    state: Literal["invalid", "suspect", "finding"]
    kind: str
    parties: tuple[Party, ...]
    look: Callable[[Evidence], Iterator[Said]]


def apply(rules: Sequence[Rule], evidence: Evidence) -> Iterator[tuple[Rule, Said]]:
    """Yields what the rules have to say, in their order."""
    for rule in rules:
        for said in rule.look(evidence):
            yield rule, said
