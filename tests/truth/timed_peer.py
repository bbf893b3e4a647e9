"""A peer with a known speed, which says what it did: `python timed_peer.py KIND MILLISECONDS [first|all]`.

It prints its port once it listens. When its standard input ends it prints a line of JSON: for each reply of 64 bytes
[when the whole message had come, when the reply was written], monotonic ns, and ends. Kinds:

    delay MS        each reply is written MS milliseconds after its message came, all connections at once
    serial MS       one message after the other over all connections: 1000 / MS replies per second and no more
    first           answers each connection's first message only
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

SIZE = 64
LOG: list[tuple[int, int]] = []
TURN = asyncio.Lock()


async def answer(writer: asyncio.StreamWriter, message: bytes, kind: str, seconds: float) -> None:
    came = time.monotonic_ns()
    async with TURN if kind == "serial" else contextlib.nullcontext():
        if seconds:
            await asyncio.sleep(seconds)
        LOG.append((came, time.monotonic_ns()))
        writer.write(message)


async def main() -> None:
    kind, seconds = sys.argv[1], float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            is_first = True
            while message := await reader.readexactly(SIZE):
                if kind != "first" or is_first:
                    await answer(writer, message, kind, seconds)
                is_first = False

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    print(json.dumps(LOG), flush=True)
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
