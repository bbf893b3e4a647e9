"""How listeners end without a loss.

A peer whose connection waits in the accept queue has been told that it is connected, and may have sent its request: a
listener that closes resets it. So does one that closes between our SYN ACK and the peer's ACK. At a stop the listeners
therefore first drop each SYN; a while later the handshakes that were under way have ended, the queues are emptied, and
the listeners closed. A peer whose SYN was dropped sends it again a second later, and is refused.

A UNIX socket has no handshakes: shut down, it refuses what connects, and what is in its queue can still be accepted
(unix_stream_connect and unix_accept in net/unix/af_unix.c). All workers share it, and all of them stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterable

__all__ = ["end_connects"]

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
# Classic BPF (linux/filter.h): code, jump if true, jump if false, k. The packet begins with the TCP header, which has
# the flags in byte 13: ACK 0x10, SYN 0x02. Returned is how many bytes of it to keep.
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_PROGRAM = (
    (_LOAD_BYTE, 0, 0, 13),
    (_AND, 0, 0, 0x12),
    (_JUMP_IF_EQUAL, 0, 1, 0x02),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)
_INSTRUCTIONS = b"".join(struct.pack("=HBBI", *one) for one in _PROGRAM)


def end_connects(listeners: Iterable[socket.socket]) -> None:
    """Has the kernel take no more connects; handshakes that are under way go on.

    Where the kernel has no socket filters, what comes between the last accept and the close is reset.
    """
    instructions = ctypes.create_string_buffer(_INSTRUCTIONS, len(_INSTRUCTIONS))
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(instructions))  # struct sock_fprog
    for listener in listeners:
        with contextlib.suppress(OSError):
            if listener.family == socket.AF_UNIX:
                listener.shutdown(socket.SHUT_RDWR)
                continue
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
