"""Socket options by the kernel's names for them, and what it says of them on a connection: socket(7), tcp(7), ip(7).

A worker reads them back from its first connection to its slot on the board. The kernel may have given another value
than the requested one, and an option that was not requested has the kernel's default.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadkit.measure.board import Slot
from loadkit.measure.names import MOST_SETTINGS, SETTING_WORDS
from loadkit.procfs import text_of

__all__ = ["SETTINGS", "Setting", "Value", "note_settings", "read_settings"]

Value = int | str | bool

_BYTES = 8 * (SETTING_WORDS - 1)  # for a value; the first word has its length, 0 if it was not read
_INT = 4


def _int_bytes(value: Value) -> bytes:
    return int(value).to_bytes(_INT, "little")


def _int_of(value: bytes) -> Value:
    return int.from_bytes(value, "little", signed=True)


def _available(name: str) -> str:
    """Returns the names that a sysctl of TCP lists."""
    return text_of(Path("/proc/sys/net/ipv4") / name).strip() or "names that it does not list"


@dataclass(frozen=True, slots=True)
class Setting:
    """A socket option: the field of SocketOptions that requests it, and the kernel's names.

    `family` None means every family. Of two rows with the same option the later one has the value, if its family fits.
    `way_out` says what to do if the kernel refuses a value.
    """

    option: str
    level: int
    number: int
    family: int | None = None
    to_bytes: Callable[[Value], bytes] = _int_bytes
    of_bytes: Callable[[bytes], Value] = _int_of
    way_out: Callable[[], str] = lambda: "leave it out"

    def fits(self, sock: socket.socket) -> bool:
        """Whether a socket of that family has it."""
        return self.family is None or sock.family == self.family


SETTINGS: tuple[Setting, ...] = (
    # The kernel cuts the bytes to net.core.wmem_max, and doubles them for its own needs (socket(7)).
    Setting("sndbuf", socket.SOL_SOCKET, socket.SO_SNDBUF),
    # As above, with net.core.rmem_max.
    Setting("rcvbuf", socket.SOL_SOCKET, socket.SO_RCVBUF),
    Setting(
        "congestion",
        socket.IPPROTO_TCP,
        socket.TCP_CONGESTION,
        to_bytes=lambda name: f"{name}\0".encode(),
        of_bytes=lambda value: value.rstrip(b"\0").decode(errors="replace"),
        way_out=lambda: (
            f"it has {_available('tcp_available_congestion_control')}, and lets all users take "
            f"{_available('tcp_allowed_congestion_control')}; `modprobe tcp_bbr` adds bbr"
        ),
    ),
    # If it is not requested, the compiled blast end saves the call when one message at a time fits into one segment.
    Setting("nodelay", socket.IPPROTO_TCP, socket.TCP_NODELAY, of_bytes=lambda value: any(value)),
    # On an IPv6 socket the first is for peers of IPv4 (ip(7), ipv6(7)).
    Setting("tos", socket.IPPROTO_IP, socket.IP_TOS),
    Setting("tos", socket.IPPROTO_IPV6, socket.IPV6_TCLASS, family=socket.AF_INET6),
)


def note_settings(slot: Slot, sock: socket.socket) -> None:
    """Writes to the slot what the kernel says of the socket. An option that this kernel does not have stays unread."""
    for index, setting in enumerate(SETTINGS[:MOST_SETTINGS]):
        if setting.fits(sock):
            with contextlib.suppress(OSError):
                value = sock.getsockopt(setting.level, setting.number, _BYTES)
                words = len(value).to_bytes(8, "little") + value.ljust(_BYTES, b"\0")
                for at in range(SETTING_WORDS):
                    word = int.from_bytes(words[8 * at : 8 * at + 8], "little", signed=True)
                    slot.set(f"setting_{SETTING_WORDS * index + at}", word)


def read_settings(state: Mapping[str, int]) -> dict[str, Value]:
    """Returns the value of each option that a worker has noted; nothing if it had no connection."""
    found: dict[str, Value] = {}
    for index, setting in enumerate(SETTINGS[:MOST_SETTINGS]):
        length, *words = (state[f"setting_{SETTING_WORDS * index + at}"] for at in range(SETTING_WORDS))
        if length > 0:
            value = b"".join(word.to_bytes(8, "little", signed=True) for word in words)
            found[setting.option] = setting.of_bytes(value[:length])
    return found
