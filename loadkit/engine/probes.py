"""A worker's probes up to where the compiled part takes over: connected, and knowing who answers them.

The first message of a probe is a hello. A serve end of loadkit answers it with a welcome of the same length, which
proves whether it is on this machine and stamps with our clock, or with a refusal; any other echo sends it back as it
is, and is told of nothing else. What goes on afterwards is native/journey.h's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from loadkit.endpoint import IP_BIND_ADDRESS_NO_PORT, family_of, refuse_itself, sockaddr_of
from loadkit.engine.compiled import native_missing
from loadkit.engine.settings import apply_settings
from loadkit.engine.stamps import RX_SOFTWARE, SO_TIMESTAMPING, SOFTWARE
from loadkit.measure.board import Slot
from loadkit.measure.names import JOURNEY_SOURCES, PEER_KINDS
from loadkit.plan.load import Load
from loadkit.plan.split import Shard
from loadkit.plan.target import Route
from loadkit.units import NS_PER_S
from loadkit.wire.proxy_header import ProxyProtocol, make_header

__all__ = ["HELLO_BYTES", "Probes", "machine_key", "open_probes"]

# 200 messages a second and worker: 2,000 in ten seconds, enough for a p99 of each, and below one in a hundred of what a
# busy worker sends. Of very many workers each has fewer.
_PROBES, _MOST_PROBES, _PERIOD_NS = 4, 64, 20_000_000
# An echo that answers a first message later than this, or waits for a longer one, is not waited for. All probes of a
# worker together are opened within the second time, however slowly a target goes about it.
_HELLO_S = 1.0
_OPEN_S = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KEY_BYTES = 16  # MACHINE_KEY_BYTES of native/machine_key.h

HELLO_BYTES = 47  # an odd one: whoever echoes messages of another length has nothing to look at
SAME_CLOCK, OTHER_CLOCK, FOREIGN = range(len(PEER_KINDS))


class NoProbes(Exception):
    """There are none; its argument is one of JOURNEY_SOURCES."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What a Prober, or a Blast, is made with: it takes the sockets over."""

    size: int
    sockets: tuple[tuple[socket.socket, int], ...] = ()

    def hand_over(self) -> tuple[int, int, bytes, tuple[tuple[int, int], ...]] | tuple[()]:
        """Returns (size, period, the machine's key, ((file descriptor, kind), …)) for the compiled part, or ()."""
        if not self.sockets:
            return ()
        return self.size, _PERIOD_NS, machine_key(), tuple((sock.detach(), kind) for sock, kind in self.sockets)


@functools.cache
def machine_key(boot_id: Path = _BOOT_ID) -> bytes:
    """Returns the 128 bits of this boot of this machine, whose clock all its containers share. They are not for others.

    If the kernel does not tell, they are random: no peer's clock is taken for ours then. Read once, before workers are
    forked: each of them would write to 100 KB more of what it shares with the others.
    """
    try:
        return int(boot_id.read_bytes().replace(b"-", b""), 16).to_bytes(_KEY_BYTES, "little")
    except (OSError, ValueError, OverflowError):
        return os.urandom(_KEY_BYTES)


def open_probes(shard: Shard, slot: Slot, sees_waits: bool = True) -> Probes:
    """Opens a worker's probes, and writes to its slot who answers them, or why nobody does. Never fails.

    `sees_waits`: whether the engine knows when it waited for events.
    """
    load = shard.load
    source, probes = "none", Probes(0)
    if load.journey and shard.routes:
        try:
            probes = _open(shard, sees_waits)
            source = ("same_clock", "other_clock", "foreign")[probes.sockets[0][1]]
        except NoProbes as reason:
            source = str(reason)
    slot.pages[0].add("probes", len(probes.sockets))
    slot.set("journey_source", JOURNEY_SOURCES.index(source))
    return probes


def _open(shard: Shard, sees_waits: bool) -> Probes:
    if native_missing():
        raise NoProbes("not_compiled")
    if not sees_waits:
        raise NoProbes("no_waits")
    if not shard.wire.rule.says_hello:
        raise NoProbes("no_echo")
    load = shard.load
    count = max(1, min(_PROBES, _MOST_PROBES // shard.of))
    deadline = time.monotonic() + _OPEN_S
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            try:
                until = min(deadline, time.monotonic() + load.connect_timeout_ns / NS_PER_S)
                sock = stack.enter_context(_connect(shard.routes[0], shard.port, until, load))
                opened.append((sock, _greet(sock, load.probe_bytes, min(deadline, time.monotonic() + _HELLO_S))))
            except OSError:
                raise NoProbes("not_opened") from None
            _check_stamps(sock)
            sock.setblocking(False)
        stack.pop_all()
    return Probes(load.probe_bytes, tuple(opened))


def _wait_until(sock: socket.socket, deadline: float) -> None:
    """Bounds the next call on a socket. Raises TimeoutError if the time is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)


def _connect(route: Route, port: int, deadline: float, load: Load) -> socket.socket:
    sock = socket.socket(family_of(route.destination), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        apply_settings(sock, load.sockets)
        if route.source:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(sockaddr_of(route.source, 0))
        _wait_until(sock, deadline)
        sock.connect(sockaddr_of(route.destination, port))
        refuse_itself(sock)
        if load.proxy_protocol is not ProxyProtocol.OFF:
            sock.sendall(make_header(load.proxy_protocol, sock.getsockname(), sock.getpeername()))
    except BaseException:
        sock.close()
        raise
    return sock


def _greet(sock: socket.socket, size: int, deadline: float) -> int:
    """Says hello, and returns what answered. Raises OSError if the peer is not an echo, NoProbes if it refuses."""
    from loadkit.engine.native import _core

    hello = _core.HELLO_TEXT.encode() + struct.pack("<I", size)
    hello += bytes(HELLO_BYTES - len(hello))
    _wait_until(sock, deadline)
    sock.sendall(hello)
    answer = _receive(sock, HELLO_BYTES, deadline)
    if answer == hello:
        return FOREIGN
    text, (number,) = answer[: len(_core.WELCOME_TEXT)], struct.unpack("<Q", answer[len(_core.WELCOME_TEXT) :])
    if text == _core.REFUSAL_TEXT.encode():
        raise NoProbes("full" if number == _core.REFUSED_FULL else "refused")
    if text != _core.WELCOME_TEXT.encode():
        raise OSError("neither an echo nor a serve end of loadkit")
    is_same = number == _core.connection_number(machine_key(), sock.fileno(), False, 0)
    return SAME_CLOCK if is_same else OTHER_CLOCK


def _receive(sock: socket.socket, length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        _wait_until(sock, deadline)
        part = sock.recv(length - len(parts))
        if not part:
            raise OSError("closed before it answered")
        parts += part
    return bytes(parts)


def _check_stamps(sock: socket.socket) -> None:
    """Raises NoProbes where the kernel, or a sandbox in front of it, does not stamp."""
    wanted = RX_SOFTWARE | SOFTWARE | 1 << 7 | 1 << 11  # OPT_ID, OPT_TSONLY
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, wanted)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
    except OSError:
        raise NoProbes("no_stamps") from None
