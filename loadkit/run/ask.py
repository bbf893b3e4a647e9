"""One message to any TCP service, and its reply: whether it is there, and replies as it should."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence

from loadkit.endpoint import place_of, say_error
from loadkit.errors import TargetError
from loadkit.limits import LIMITS, refusal
from loadkit.plan.target import Target
from loadkit.run.ping import exchange, left_s
from loadkit.units import NS_PER_S, format_duration
from loadkit.wire.echo import echo_script
from loadkit.wire.expect import Expect
from loadkit.wire.protocol import Unexpected
from loadkit.wire.recognise import quote
from loadkit.wire.script import Stream
from loadkit.wire.unmarked import Closed, Quiet
from loadkit.wire.wires import framing_of

__all__ = ["ask"]

# Of a reply so much is kept, to be shown.
_KEPT_BYTES = 128
_READ_BYTES = 65536


def ask(targets: Sequence[Target], message: bytes, expect: Expect, timeout_ns: int) -> tuple[Target, int, bytes]:
    """Connects, sends a message, and waits for the end of a reply. `expect` is any framing but the echo.

    `targets` and the time-out are as for `ping`. Returns the target, the nanoseconds from the send to the last byte of
    the reply, and how that begins. Raises TargetError.
    """
    place, deadline_ns = place_of(targets[0].host, targets[0].port), time.monotonic_ns() + timeout_ns
    began = bytearray()
    try:
        target, took_ns = exchange(targets, message, deadline_ns, lambda sock: _read(sock, expect, began, deadline_ns))
        return target, took_ns, bytes(began)
    except Unexpected as wrong:
        raise TargetError(f"{place} replied {quote(bytes(began))}: {wrong.error} (--expect {expect})") from None
    except TimeoutError:
        what = f"sent {quote(bytes(began))}, and no end of it" if began else "did not reply"
        raise TargetError(
            f"{place} {what} within {format_duration(timeout_ns)} (--expect {expect}); check what it is sent "
            f"(--timeout waits longer)"
        ) from None
    except EOFError:
        came = f"after {quote(bytes(began))}, which is no whole reply" if began else "without a reply"
        raise TargetError(f"{place} closed the connection {came} (--expect {expect})") from None
    except OSError as error:
        if error.errno in LIMITS:
            raise refusal(error, "open a connection") from None
        raise TargetError(f"{place} does not reply: {say_error(error)}; check the address and port") from None


def _read(sock: socket.socket, expect: Expect, began: bytearray, deadline_ns: int) -> int:
    """Reads one reply; `began` becomes its beginning. Returns when its last byte came (monotonic ns).

    Raises Unexpected, TimeoutError, and EOFError if the connection ends before it.
    """
    rule = expect.rule
    framing = framing_of(rule, Stream(echo_script(1)))
    progress, came_ns = framing.begin, 0
    while True:
        is_quiet = isinstance(rule, Quiet) and came_ns > 0
        sock.settimeout(min(left_s(deadline_ns), rule.quiet_ns / NS_PER_S if is_quiet else 3600))  # type: ignore[union-attr]
        part = b""
        with contextlib.suppress(TimeoutError) if is_quiet else contextlib.nullcontext():
            part = sock.recv(_READ_BYTES)
        if not part:
            if is_quiet or (isinstance(rule, Closed) and came_ns):
                return came_ns
            raise EOFError
        came_ns = time.monotonic_ns()
        began += part[: _KEPT_BYTES - len(began)]
        progress, ends = framing.feed(progress, part)
        if ends:
            return came_ns
