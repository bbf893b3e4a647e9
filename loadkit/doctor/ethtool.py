"""What a network card's driver says of itself, asked by the ioctl that ethtool(8) uses: linux/ethtool.h.

The read-only commands need no privilege on most drivers; one that does not know a command answers EOPNOTSUPP.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = [
    "Ask",
    "Channels",
    "Coalescing",
    "Driver",
    "Offload",
    "Pair",
    "Rss",
    "ask_driver",
    "read_channels",
    "read_coalescing",
    "read_driver",
    "read_flag",
    "read_rings",
    "read_rss",
]

# (name of the interface, 32-bit words, the command first) -> the words as the driver left them; None: no answer
Ask = Callable[[str, Sequence[int]], tuple[int, ...] | None]
Pair = tuple[int, int]  # (as it is, at most)

_SIOCETHTOOL = 0x8946
_DRIVER, _COALESCING, _RINGS = 0x03, 0x0E, 0x10  # ETHTOOL_GDRVINFO, _GCOALESCE, _GRINGPARAM
_HASH, _TABLE, _CHANNELS = 0x29, 0x38, 0x3C  # ETHTOOL_GRXFH, _GRXFHINDIR, _GCHANNELS

Offload = str
_FLAGS = {"rx": 0x14, "tx": 0x16, "tso": 0x1E, "gro": 0x2B}  # ETHTOOL_GRXCSUM, _GTXCSUM, _GTSO, _GGRO
Coalescing = tuple[int, bool]  # (microseconds the card waits before it interrupts, whether it adapts them)

_TCP_V4 = 1  # TCP_V4_FLOW
_PORTS = 1 << 6 | 1 << 7  # RXH_L4_B_0_1, RXH_L4_B_2_3


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver of an interface. `bus` is where the card sits; it is empty for an interface that is not a card."""

    name: str
    bus: str


@dataclass(frozen=True, slots=True)
class Channels:
    """The queues that receive; `kind` is what ethtool -L calls them, `combined` or `rx`."""

    now: int
    most: int
    kind: str


@dataclass(frozen=True, slots=True)
class Rss:
    """How the card spreads what it receives: over how many queues, and whether by ports too. None: it does not say."""

    queues: int | None
    by_ports: bool | None


def ask_driver(name: str, words: Sequence[int]) -> tuple[int, ...] | None:
    """Asks the driver of interface `name`; None where it does not answer."""
    answer = array.array("I", words)
    address, _ = answer.buffer_info()
    request = struct.pack("16sP16x", name.encode()[:15], address)  # struct ifreq, 40 bytes
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
    except OSError:
        return None
    return tuple(answer)


def read_driver(name: str, ask: Ask) -> Driver | None:
    """Returns the driver of the interface (struct ethtool_drvinfo: 49 words, texts of 8 words each)."""
    words = _ask(name, _DRIVER, 49, ask)
    return Driver(_text(words[1:9]), _text(words[25:33])) if words else None


def read_rings(name: str, ask: Ask) -> tuple[Pair, Pair] | None:
    """Returns the sizes of the receive and of the send ring (struct ethtool_ringparam)."""
    words = _ask(name, _RINGS, 9, ask)
    return ((words[5], words[1]), (words[8], words[4])) if words else None


def read_channels(name: str, ask: Ask) -> Channels | None:
    """Returns the number of queues that receive: the combined ones and those for it alone (struct ethtool_channels)."""
    words = _ask(name, _CHANNELS, 9, ask)
    if not words:
        return None
    return Channels(words[8] + words[5], words[4] or words[1], "combined" if words[4] else "rx")


def read_coalescing(name: str, ask: Ask) -> Coalescing | None:
    """Returns how long the card gathers packets before it interrupts (struct ethtool_coalesce, 23 words)."""
    words = _ask(name, _COALESCING, 23, ask)
    return (words[1], bool(words[10])) if words else None


def read_flag(name: str, flag: Offload, ask: Ask) -> bool | None:
    """Returns whether an offload is on (struct ethtool_value); `flag` is ethtool -K's name: rx, tx, tso or gro."""
    words = _ask(name, _FLAGS[flag], 2, ask)
    return bool(words[1]) if words else None


def read_rss(name: str, ask: Ask) -> Rss:
    """Returns how it spreads TCP over its queues (struct ethtool_rxfh_indir; of struct ethtool_rxnfc, four words)."""
    size = _ask(name, _TABLE, 2, ask)
    table = ask(name, (_TABLE, size[1], *[0] * size[1])) if size and size[1] else None
    fields = ask(name, (_HASH, _TCP_V4, 0, 0))
    return Rss(
        queues=len(set(table[2:])) if table else None,
        # No field at all is what a driver says that does not know.
        by_ports=fields[2] & _PORTS == _PORTS if fields and fields[2] else None,
    )


def _ask(name: str, command: int, words: int, ask: Ask) -> tuple[int, ...] | None:
    return ask(name, (command, *[0] * (words - 1)))


def _text(words: Sequence[int]) -> str:
    return struct.pack(f"{len(words)}I", *words).partition(b"\0")[0].decode(errors="replace")
