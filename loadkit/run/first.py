"""The run's first connection: what to say of a target that did not give it a right reply."""

from __future__ import annotations

import errno
import os

from loadkit.endpoint import place_of
from loadkit.errors import TargetError, UnreachableError
from loadkit.measure.samples import PhaseSamples
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.report.advice import advise, explain
from loadkit.units import format_duration, format_size
from loadkit.wire.protocol import WRONG_REPLY
from loadkit.wire.recognise import guess, quote, show
from loadkit.wire.script import Script, Stream

__all__ = ["first_failure"]

# So many bytes are not those of the message by chance: what came is an echo that goes wrong.
_LEAST_ECHOED = 4
_ENDED = {
    "CLOSED_BY_PEER": "closed the first connection",
    "ECONNRESET": "reset the first connection",
    "EPIPE": "closed the first connection",
}


def first_failure(plan: Plan, port: int, ramp: PhaseSamples, first_bytes: bytes, script: Script) -> TargetError:
    """Returns the error that ends a run whose first connection had no right reply: UnreachableError if it never opened.

    `port` is the target's, `ramp` what its worker counted until then, `first_bytes` how what came on it begins. It was
    sent the first message of `script`.
    """
    load, where, is_unix = plan.load, place_of(plan.target.host, port), plan.target.is_unix
    if plan.target.embedded:
        where = f"the embedded server at {place_of(plan.here.routes[0].destination, port)}"
    step, name = next(iter(ramp.errors), ("receive", "UNKNOWN"))
    if step == "handshake":
        return TargetError(f"{where} {_shaken(load, name, first_bytes)}; {explain(step, name).advice}")
    if not load.echoes and step in ("reply", "receive") and (said := _framed(load, step, name, first_bytes)):
        return TargetError(f"{where} {said}")
    if load.echoes and (name in ("EXTRA_BYTES", "WRONG_BYTES") or _right(script, first_bytes) < len(first_bytes)):
        return TargetError(f"{where} {_other_bytes(script, name, first_bytes)}; --expect is for other protocols")
    if name == "ECONNREFUSED":
        return UnreachableError(
            where,
            f"the first connection failed: {os.strerror(errno.ECONNREFUSED)} ({name})",
            f"start the server, check the {'path' if is_unix else 'address and port'}, or leave "
            f"{'it' if is_unix else 'HOST:PORT'} out to blast an embedded server",
        )
    if name == "CONNECT_TIMEOUT":
        return UnreachableError(
            where,
            f"no answer to the first connect within {format_duration(load.connect_timeout_ns)}",
            "its accept queue was full all the time: is the server stuck? --connect-timeout waits longer"
            if is_unix
            else "a firewall or a full accept queue may drop its packets: check the address and port, or raise "
            "--connect-timeout",
        )
    came = f"{format_size(ramp.counters['received_bytes'])} of the {format_size(script.length(0))} of its reply"
    if name in _ENDED:
        when = f"after {came}" if first_bytes else "without a reply"
        return TargetError(
            f"{where} {_ENDED[name]} {when}; it is not an echo server, or it turns connections away: see its log, and "
            f"its limit of connections (loadkit serve --max-connections)"
        )
    if name == "REPLY_TIMEOUT":
        what = f"sent {came}, and no more" if first_bytes else "did not reply to the first message"
        return TargetError(
            f"{where} {what} within {format_duration(load.timeout_ns)}; it is not an echo server, or it is stuck or "
            f"slow: check the {'path' if is_unix else 'address and port'}, or raise --timeout"
        )
    number = getattr(errno, name, 0)
    reason = f"the first connection failed: {f'{os.strerror(number)} ({name})' if number else name}"
    if step == "connect":
        return UnreachableError(where, reason, advise(step, name))
    return TargetError(f"{where}: {reason}; {advise(step, name)}")


def _shaken(load: Load, name: str, first_bytes: bytes) -> str:
    """Says what became of the set-up of the first connection, and how what came in it began."""
    came = f"after it said {quote(first_bytes)}" if first_bytes else "and said nothing before"
    what = {
        **{ended: f"{said} during its set-up" for ended, said in _ENDED.items()},
        "HANDSHAKE_TIMEOUT": f"did not finish the set-up within {format_duration(load.connect_timeout_ns)}",
        "EXTRA_BYTES": "said more in the set-up than --first-expect tells of",
        "WRONG_REPLY": "did not say in the set-up what --first-check asks for",
    }
    return f"{what.get(name, f'did not keep to --first-expect in the set-up ({name})')}, {came}"


def _framed(load: Load, step: str, name: str, first_bytes: bytes) -> str | None:
    """Returns what to say of a target that gave no right reply and is no echo; None if the error is like any other."""
    expected, said = f"--expect {load.expect}", quote(first_bytes)
    if step == "reply":
        if name == WRONG_REPLY:
            expected += f" --check {load.content}"
        return f"replied {said}: {explain(step, name).cause} ({expected}, {name})"
    if name == "EXTRA_BYTES":
        return f"sent more than the first message's reply, {said}: is it {expected}?"
    came = f"after {said}, which is no whole reply" if first_bytes else "without a reply"
    if name in _ENDED:
        return f"{_ENDED[name]} {came} ({expected}): see its log, and what it is sent"
    if name == "REPLY_TIMEOUT":
        what = f"sent {said}, and no end of it" if first_bytes else "did not reply"
        return (
            f"{what} within {format_duration(load.timeout_ns)} ({expected}): check what it is sent and where its "
            f"replies end, or raise --timeout"
        )
    return None


def _other_bytes(script: Script, name: str, first_bytes: bytes) -> str:
    right, length = _right(script, first_bytes), script.length(0)
    size = format_size(length)
    if name == "EXTRA_BYTES" and right >= min(len(first_bytes), length):
        return f"sent back more than the {size} of the first message: it is not an echo server"
    if right == len(first_bytes):
        return f"sent back other bytes than the {size} it got: it is not an echo server"
    if right >= _LEAST_ECHOED:
        return f"sent back other bytes than the {size} it got, from byte {right + 1} on: it is not an echo server"
    return f"replied `{show(first_bytes)}` to an echo message: {guess(first_bytes)}"


def _right(script: Script, first_bytes: bytes) -> int:
    """Returns how many of the first bytes are those of the message."""
    stream = Stream(script)
    return next(
        (at for at in range(len(first_bytes)) if not stream.matches(at, first_bytes[at : at + 1])), len(first_bytes)
    )
