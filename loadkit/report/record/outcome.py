"""What became of a run: its verdict, findings, objectives and errors, and what ended it early."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from loadkit.report import algebra

__all__ = ["STATES", "Aborted", "Advised", "Finding", "Party", "Reason", "SloRecord", "State", "Verdict"]

# What a reason or a finding names: loadkit's own processes, the target, what lies between them, this machine, or what
# was requested.
Party = Literal["loadkit", "target", "network", "machine", "request"]
State = Literal["valid", "suspect", "invalid"]
STATES: tuple[State, ...] = ("valid", "suspect", "invalid")  # from good to bad


class Verdict(msgspec.Struct, frozen=True):
    """Whether the run can be trusted: valid, suspect or invalid."""

    state: State
    reasons: tuple[Reason, ...] = ()


class Reason(msgspec.Struct, frozen=True):
    """Why a run is not valid: what was seen, why it matters, and what to do. `party` is where the cause lies."""

    code: str
    text: str
    party: Party = "loadkit"


class Finding(msgspec.Struct, frozen=True):
    """What the target, the network or the machine did with the load: what was seen, and what to do.

    It never changes the verdict. `party` is where the cause lies.
    """

    code: str
    text: str
    party: Party = "machine"


class SloRecord(msgspec.Struct, frozen=True):
    """An objective, the value of its figure (ns, a count, a rate or a share), and whether it was met.

    A value that was not measured, or that too few values support, is null. Then `ok` is false and `reason` says why.
    """

    expr: str
    value: int | float | None
    ok: bool
    reason: str | None = None


class Advised(msgspec.Struct, frozen=True):
    """A kind of error: where it happened, how often, and what to do about it."""

    phase: Annotated[str, algebra.SAME]
    step: Annotated[str, algebra.SAME]
    error: Annotated[str, algebra.SAME]
    count: Annotated[int, algebra.SUM]
    advice: Annotated[str, algebra.FIRST]


class Aborted(msgspec.Struct, frozen=True):
    """The condition of --abort-on that ended a run: met `at_ns` after the start, with that `value` of the figure.

    `value` is null if the figure was among what had not come back; `reason` says so.
    """

    expr: str
    at_ns: int
    value: int | float | None
    reason: str | None = None
