"""The examples of docs/protocols.md, as they stand there, against small servers of these protocols."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import blocks, chapter, commands

pytestmark = pytest.mark.slow

_EXAMPLES = chapter("protocols", "Examples")
_COMMANDS = [line for line in commands(_EXAMPLES) if line.startswith("loadkit blast ")]
_REPLIES = 200

Behaviour = Callable[[socket.socket], None]


def _command(option: str) -> list[str]:
    """Returns the words of the example that has this option, without the program and the target."""
    [found] = [words for line in _COMMANDS if option in (words := shlex.split(line)[3:])]
    return found


def _blast(port: int, words: list[str], folder: Path, *more: str) -> Any:
    """Runs an example for a fixed number of messages on few connections, and returns its record."""
    file = folder / "run.json"
    shorter = ["-c", "3", "-n", str(_REPLIES), "-w", "1", "-q", *more]
    kept = [word for at, word in enumerate(words) if not {word, *words[at - 1 : at]} & {"-c", "-d"} or at == 0]
    kept = [word for word in kept if word not in ("-c", "-d")]
    done = subprocess.run(
        [sys.executable, "-m", "loadkit", "blast", f"127.0.0.1:{port}", *kept, *shorter, "-o", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


def _assert_right(record: Any) -> None:
    assert record["errors"] == []
    assert record["messages"]["replied"] == record["messages"]["intended"] >= _REPLIES


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], int]]:
    """Answers each connection in a thread of its own; returns the port."""
    listeners: list[socket.socket] = []

    def one(sock: socket.socket, behave: Behaviour) -> None:
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            behave(sock)

    def accept(listener: socket.socket, behave: Behaviour) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0], behave), daemon=True).start()

    def start(behave: Behaviour) -> int:
        listeners.append(socket.create_server(("127.0.0.1", 0), backlog=64))
        threading.Thread(target=accept, args=(listeners[-1], behave), daemon=True).start()
        return int(listeners[-1].getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _dns(sock: socket.socket) -> None:
    with sock.makefile("rb") as questions:
        while header := questions.read(2):
            question = questions.read(int.from_bytes(header, "big"))
            answer = question[:2] + b"\x81\x80" + question[4:6] + b"\0\1" + question[8:]
            answer += b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4\xc0\0\2\1"
            sock.sendall(len(answer).to_bytes(2, "big") + answer)


def _smtp(sock: socket.socket) -> None:
    sock.sendall(b"220-mail.example\r\n220 ESMTP\r\n")
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(b"250-mail.example\r\n250 OK\r\n" if line == b"NOOP\r\n" else b"500 what?\r\n")


def _whois(sock: socket.socket) -> None:
    with sock.makefile("rb") as lines:
        if lines.readline() == b"example.com\r\n":
            sock.sendall(b"% a comment\r\n")
            sock.sendall(b"Domain: example.com\r\n" + b"x" * 5000)


@pytest.mark.parametrize(
    ("option", "behave"),
    [
        pytest.param("len:u16be", _dns, id="DNS"),
        pytest.param("--first", _smtp, id="SMTP"),
        pytest.param("close", _whois, id="whois"),
    ],
)
@pytest.mark.parametrize("engine", ["native", "asyncio"])
def test_an_example_runs_without_an_error(
    option: str, behave: Behaviour, engine: str, serve: Callable[[Behaviour], int], tmp_path: Path
) -> None:
    _assert_right(_blast(serve(behave), _command(option), tmp_path, "--engine", engine))


def test_the_server_of_the_page_answers_each_line(tmp_path: Path) -> None:
    [source] = [block.text for block in blocks(_EXAMPLES) if block.language == "python"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-c", source.replace("7001", str(port))], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            _assert_right(_blast(port, _command("line"), tmp_path))
        finally:
            server.kill()


def test_wrong_replies_are_shown_with_how_the_first_began(serve: Callable[[Behaviour], int], tmp_path: Path) -> None:
    numbers = itertools.count(1)

    def refuse_some(sock: socket.socket) -> None:
        with sock.makefile("rb") as lines:
            for _ in lines:
                sock.sendall(b"ERR busy\n" if next(numbers) % 10 == 0 else b"OK\n")

    record = _blast(serve(refuse_some), _command("line"), tmp_path)
    rows = [row for row in record["errors"] if row["error"] == "WRONG_REPLY"]
    assert {row["step"] for row in rows} == {"reply"}
    assert all("the first began `ERR busy` (--check starts:OK)" in row["advice"] for row in rows)
    assert record["messages"]["failed"] + record["messages"]["replied"] == record["messages"]["sent"]
    assert record["messages"]["failed"] >= _REPLIES // 20
