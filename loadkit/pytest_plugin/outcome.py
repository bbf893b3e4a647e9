"""How a run becomes the outcome of a test: failed by the server, or an error, because the run proves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import pytest
from _pytest.outcomes import Failed  # pytest.fail.Exception, which has no public name to derive from

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["InvalidRun", "check_policy", "environment", "fail", "judge"]

# What becomes of a test whose run is invalid.
_POLICIES = ("error", "skip", "allow")


class InvalidRun(Failed):
    """A run that proves nothing: this machine could not do it, or not all of it happened, and the server is not why.

    The test is reported as an error, as if its setup had failed, and not as a failure: the run says nothing about the
    server.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, pytrace=False)


def check_policy(policy: str) -> str:
    """Returns the policy. Raises pytest.UsageError if there is no such policy."""
    if policy not in _POLICIES:
        raise pytest.UsageError(f"loadkit: invalid={policy!r}: expected one of {', '.join(_POLICIES)}")
    return policy


def judge(record: RunRecord, policy: str) -> None:
    """Ends the test of a run that is invalid: it fails if the target or the network is why, else the policy decides."""
    __tracebackhide__ = True
    from loadkit.report.as_text import as_short_text

    if record.verdict.state != "invalid" or policy == "allow":
        return
    codes = [reason.code for reason in record.verdict.reasons]
    why = f"invalid run ({', '.join(codes)})"
    if {reason.party for reason in record.verdict.reasons} & {"target", "network"}:
        fail(f"{why}: the server broke it\n\n{as_short_text(record)}")
    _give_up(policy, f"{why}, which says nothing of the server\n\n{as_short_text(record)}")


@contextlib.contextmanager
def environment(policy: str) -> Iterator[None]:
    """Treats what this machine cannot do as an invalid run, too. There is no record then, so "allow" is an error."""
    from loadkit.errors import PreflightError, WorkerError

    reason = None
    try:
        yield
    except (PreflightError, WorkerError) as error:
        reason = str(error)
    if reason:
        _give_up(policy, f"this machine cannot do the run: {reason}")


def fail(text: str) -> NoReturn:
    """Fails the test with a page that no terminal and no CI runner obeys: pytest prints it as it is."""
    __tracebackhide__ = True
    from loadkit.printable import page

    pytest.fail(page(text), pytrace=False)


def _give_up(policy: str, text: str) -> NoReturn:
    from loadkit.printable import page

    if policy == "skip":
        pytest.skip(page(text).partition("\n")[0])
    raise InvalidRun(page(text))
