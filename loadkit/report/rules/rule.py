"""A rule: what kind of run it speaks of, and what it says then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from loadkit.report.evidence import Evidence
from loadkit.report.record import Party

__all__ = ["ANY_ERROR", "Look", "Rule", "Said", "apply", "rule"]

# The parties that an error of a connection may be of: advice.py.
ANY_ERROR: tuple[Party, ...] = ("target", "network", "machine")


class Said(NamedTuple):
    """What a rule has to say: what was seen with its number, why it matters, what to do; and where the cause lies."""

    text: str
    party: Party


Look = Callable[[Evidence], Iterator[Said]]
Weight = Literal["invalid", "suspect", "finding"]


class Rule(NamedTuple):
    """`kind` is the kind of run in words, `parties` are those it may name, `look` yields nothing or what it saw."""

    code: str
    state: Weight
    kind: str
    parties: tuple[Party, ...]
    look: Look


def rule(code: str, state: Weight, kind: str, *parties: Party) -> Callable[[Look], Rule]:
    """Returns a decorator that makes a function the `look` of a rule."""
    return lambda look: Rule(code, state, kind, parties, look)


def apply(rules: Sequence[Rule], evidence: Evidence) -> Iterator[tuple[Rule, Said]]:
    """Yields what the rules have to say, in their order."""
    for one in rules:
        for said in one.look(evidence):
            yield one, said
