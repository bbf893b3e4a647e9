"""One message to an echo server and back: whether it is there and does what it is there for."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence

from loadkit.endpoint import SockAddr, family_of, place_of, refuse_itself, reset_on_close, say_error, sockaddr_of
from loadkit.errors import TargetError
from loadkit.limits import LIMITS, refusal
from loadkit.plan.target import Target
from loadkit.units import NS_PER_S, format_duration, format_size
from loadkit.wire.recognise import guess, show

__all__ = ["exchange", "left_s", "ping"]

_AGAIN_S = 0.01


def ping(targets: Sequence[Target], size_bytes: int, timeout_ns: int) -> tuple[Target, int]:
    """Connects, sends `size_bytes` of random bytes and compares what comes back.

    `targets` are the addresses of one name, in the order to try them. Returns the one that a connection could be opened
    to, and the nanoseconds from the send to the last byte of the reply. All of it has to be done within `timeout_ns`.
    The connection is reset at the end, so that a check that comes again and again leaves no TIME_WAIT.
    Raises TargetError: refused, not in time, closed, other bytes.
    """
    place, message = place_of(targets[0].host, targets[0].port), os.urandom(size_bytes)
    deadline_ns = time.monotonic_ns() + timeout_ns
    try:
        return exchange(targets, message, deadline_ns, lambda sock: _compare(sock, message, place, deadline_ns))
    except TimeoutError:
        raise TargetError(
            f"{place} did not echo {format_size(size_bytes)} within {format_duration(timeout_ns)}; is it an echo "
            f"server, and alive? (--timeout waits longer)"
        ) from None
    except OSError as error:
        if error.errno in LIMITS:
            raise refusal(error, "open a connection") from None
        what = "path" if targets[0].is_unix else "address and port"
        raise TargetError(
            f"{place} does not echo: {say_error(error)}; check the {what} (`loadkit serve {place}` starts a server)"
        ) from None


def exchange(
    targets: Sequence[Target], message: bytes, deadline_ns: int, read: Callable[[socket.socket], int]
) -> tuple[Target, int]:
    """Connects, sends a message, and has `read` take the reply: it returns when the last byte of that came.

    Returns the target that a connection could be opened to, and the nanoseconds from the send until then.
    """
    target, sock = _connect(targets, deadline_ns)
    with sock:
        reset_on_close(sock)
        sent_ns = time.monotonic_ns()
        sock.settimeout(left_s(deadline_ns))
        sock.sendall(message)
        return target, read(sock) - sent_ns


def _connect(targets: Sequence[Target], deadline_ns: int) -> tuple[Target, socket.socket]:
    """Returns the first target that answers, each having its share of the time left. Raises the last one's OSError."""
    *others, last = targets
    for left, target in zip(range(len(targets), 1, -1), others, strict=True):
        try:
            return target, _connect_to(target, left_s(deadline_ns) / left)
        except OSError:
            continue
    return last, _connect_to(last, left_s(deadline_ns))


def _connect_to(target: Target, timeout_s: float) -> socket.socket:
    address = target.addresses[0]
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        _open(sock, sockaddr_of(address, target.port), timeout_s)
        if not target.is_unix:
            refuse_itself(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _open(sock: socket.socket, sockaddr: SockAddr, timeout_s: float) -> None:
    """Connects. If the queue of a UNIX listener is full, connect(2) says so at once, and it is tried again."""
    deadline = time.monotonic() + timeout_s
    while True:
        sock.settimeout(max(1e-6, deadline - time.monotonic()))
        try:
            sock.connect(sockaddr)
            return
        except BlockingIOError:
            if time.monotonic() + _AGAIN_S > deadline:
                raise TimeoutError from None
        time.sleep(_AGAIN_S)


def _compare(sock: socket.socket, message: bytes, place: str, deadline_ns: int) -> int:
    """Reads the echo of a message; returns when its last byte came (monotonic ns)."""
    came = 0
    while came < len(message):
        sock.settimeout(left_s(deadline_ns))
        part = sock.recv(len(message) - came)
        if not part:
            raise TargetError(
                f"{place} closed the connection after {came} of {len(message)} B; it is not an echo server, or turns "
                f"connections away (loadkit serve --max-connections)"
            )
        if part != message[came : came + len(part)]:
            first_bytes = message[:came] + part
            raise TargetError(f"{place} sent back other bytes than it got, `{show(first_bytes)}`: {guess(first_bytes)}")
        came += len(part)
    return time.monotonic_ns()


def left_s(deadline_ns: int) -> float:
    """Returns the seconds that are left, and a little where none are: 0 would mean not to wait at all."""
    return max(1e-6, (deadline_ns - time.monotonic_ns()) / NS_PER_S)
