"""A peer that misbehaves in a known way, as a process of its own: `python peer.py KIND [ARGUMENT] [--tell BYTES]`.

It prints its port once it listens, a line once it has read so many BYTES, and ends when its standard input does. Kinds:

    echo                    as it should be
    split N                 replies come in pieces of N bytes
    delay-every N MS        every Nth message is replied to MS milliseconds late, and so are those behind it
    silent                  replies to the very first message, and never again
    reset-after N           resets a connection once it has read N bytes
    wrong-byte N            the last byte of every Nth reply is wrong
    extra N                 every Nth reply is followed by a byte nobody asked for
    drop-every N            every Nth message after the first of its connection is never replied to
    half N                  sends half of every Nth reply, then closes
    refuse                  takes one connection, and does not listen any more before it replies
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys


class Peer(asyncio.Protocol):
    size = 64
    count = 0  # messages over all connections
    server: asyncio.Server  # what listens
    untold: int | None = None  # bytes over all connections until it says so

    def __init__(self, kind: str, number: int, milliseconds: int) -> None:
        self.kind = kind
        self.number = number
        self.milliseconds = milliseconds
        self.buffer = b""
        self.read = 0
        self.is_first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.kind == "refuse":
            Peer.server.close()

    def data_received(self, chunk: bytes) -> None:
        self.read += len(chunk)
        if Peer.untold is not None:
            Peer.untold -= len(chunk)
            if Peer.untold <= 0:
                Peer.untold = None
                print("told", flush=True)
        if self.kind == "silent" and Peer.count:
            return
        Peer.count += self.kind == "silent"
        if self.kind == "reset-after" and self.read >= self.number:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
            return
        self.buffer += chunk
        while len(self.buffer) >= self.size:
            message, self.buffer = self.buffer[: self.size], self.buffer[self.size :]
            self.reply(message)

    def is_nth(self) -> bool:
        Peer.count += 1
        return Peer.count % self.number == 0

    def reply(self, message: bytes) -> None:
        write = self.transport.write
        if self.kind == "split":
            for at in range(0, len(message), self.number):
                write(message[at : at + self.number])
        elif self.kind == "delay-every" and self.is_nth():
            asyncio.get_running_loop().call_later(self.milliseconds / 1000, write, message)
        elif self.kind == "wrong-byte" and self.is_nth():
            write(message[:-1] + bytes([message[-1] ^ 1]))
        elif self.kind == "extra" and self.is_nth():
            write(message + b"!")
        elif self.kind == "half" and self.is_nth():
            write(message[: len(message) // 2])
            self.transport.close()
        elif self.kind == "drop-every" and self.is_dropped():
            pass
        else:
            write(message)

    def is_dropped(self) -> bool:
        """Whether no reply comes: never to the message that a connection opens with, which is none of the schedule."""
        if self.is_first:
            self.is_first = False
            return False
        return self.is_nth()


async def main() -> None:
    arguments = sys.argv[1:]
    if "--tell" in arguments:
        at = arguments.index("--tell")
        Peer.untold = int(arguments[at + 1])
        del arguments[at : at + 2]
    kind = arguments[0]
    number, milliseconds = (*map(int, arguments[1:]), 1, 1)[:2]
    loop = asyncio.get_running_loop()
    Peer.server = server = await loop.create_server(
        lambda: Peer(kind, number, milliseconds), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = loop.create_future()
    loop.add_reader(sys.stdin, lambda: ended.done() or ended.set_result(None))
    await ended
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
