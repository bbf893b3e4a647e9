"""What a network card's driver says of itself, asked by the ioctl that ethtool(8) uses: linux/ethtool.h.

The read-only commands need no privilege on most drivers; one that does not know a command answers EOPNOTSUPP.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Callable

__all__ = [
    "Ask",
    "Coalescing",
    "Offload",
    "Pair",
    "ask_driver",
    "read_channels",
    "read_coalescing",
    "read_flag",
    "read_rings",
]

# (name of the interface, command, 32-bit words of its answer) -> the words, the command itself first; None: no answer
Ask = Callable[[str, int, int], tuple[int, ...] | None]
Pair = tuple[int, int]  # (as it is, at most)

_SIOCETHTOOL = 0x8946
_COALESCING, _RINGS, _CHANNELS = 0x0E, 0x10, 0x3C  # ETHTOOL_GCOALESCE, _GRINGPARAM, _GCHANNELS

Offload = str
_FLAGS = {"rx": 0x14, "tx": 0x16, "tso": 0x1E, "gro": 0x2B}  # ETHTOOL_GRXCSUM, _GTXCSUM, _GTSO, _GGRO
Coalescing = tuple[int, bool]  # (microseconds the card waits before it interrupts, whether it adapts them)


def ask_driver(name: str, command: int, words: int) -> tuple[int, ...] | None:
    """Asks the driver of interface `name`; None where it does not answer."""
    answer = array.array("I", [command, *[0] * (words - 1)])
    address, _ = answer.buffer_info()
    request = struct.pack("16sP16x", name.encode()[:15], address)  # struct ifreq, 40 bytes
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
    except OSError:
        return None
    return tuple(answer)


def read_rings(name: str, ask: Ask) -> tuple[Pair, Pair] | None:
    """Returns the sizes of the receive and of the send ring (struct ethtool_ringparam)."""
    words = ask(name, _RINGS, 9)
    return ((words[5], words[1]), (words[8], words[4])) if words else None


def read_channels(name: str, ask: Ask) -> Pair | None:
    """Returns the number of queues that receive: the combined ones and those for it alone (struct ethtool_channels)."""
    words = ask(name, _CHANNELS, 9)
    return (words[8] + words[5], words[4] or words[1]) if words else None


def read_coalescing(name: str, ask: Ask) -> Coalescing | None:
    """Returns how long the card gathers packets before it interrupts (struct ethtool_coalesce, 23 words)."""
    words = ask(name, _COALESCING, 23)
    return (words[1], bool(words[10])) if words else None


def read_flag(name: str, flag: Offload, ask: Ask) -> bool | None:
    """Returns whether an offload is on (struct ethtool_value); `flag` is ethtool -K's name: rx, tx, tso or gro."""
    words = ask(name, _FLAGS[flag], 2)
    return bool(words[1]) if words else None
