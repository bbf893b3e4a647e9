"""What becomes of a command whose standard streams are closed, full, without a reader, or not read."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadkit.cli.streams import Stream, width_of
from tests.under_way import wait_for

GOLDEN = Path(__file__).parents[1] / "golden"
LOADKIT = (sys.executable, "-m", "loadkit")
# A missed SLO: the exit status that a failing print must not change. The first message of a connection counts, too.
BLAST = ("blast", "-c", "2", "-n", "20", "-w", "1", "--slo", "replied<=1", "-o", "run.json")

# Command -> (its words, its exit status). `{echo}` is the port of an echo server.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "version": (("--version",), 0),
    "help": (("--help",), 0),
    "no arguments": ((), 2),
    "wrong usage": (("blast", "--bogus"), 2),
    "blast": (BLAST, 3),
    "blast, a dry run": (("blast", "-c", "2", "--dry-run"), 0),
    "blast, could not run": (("blast", "127.0.0.1:1", "-c", "2"), 1),
    "serve, could not run": (("serve", "127.0.0.1:{echo}"), 1),
    "ping": (("ping", "127.0.0.1:{echo}"), 0),
    "doctor": (("doctor", "-c", "100"), 0),
    "doctor as JSON": (("doctor", "-c", "500m", "--json"), 1),
    "report": (("report", str(GOLDEN / "saturated.json"), "-o", "run.json"), 0),
    "report, no record": (("report", "nothing.json"), 1),
    "profiles": (("profiles",), 0),
    "profiles show": (("profiles", "show", "ramp"), 0),
}
# They print nothing, and say why in one line.
COMPLAINING = ("wrong usage", "blast, could not run", "serve, could not run", "report, no record")
STREAMS = {"stdin": (0,), "stdout": (1,), "stderr": (2,), "all": (0, 1, 2)}
CONDITIONS = ("closed", "full", "gone", "unread")


@contextlib.contextmanager
def led_to(condition: str) -> Iterator[int]:
    """Yields a file descriptor to write to that is full, whose reader is gone, or that no process reads."""
    if condition in ("full", "closed"):
        fd = os.open("/dev/full", os.O_RDWR)
        yield fd
        os.close(fd)
        return
    reading, writing = os.pipe()
    fill(writing)
    if condition == "gone":
        os.close(reading)
    yield writing
    os.close(writing)
    if condition != "gone":
        os.close(reading)


def fill(fd: int) -> None:
    """Fills a pipe, which is made as small as it can be."""
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 512)
    os.set_blocking(fd, True)  # the flag is shared with the command


def start(words: tuple[str, ...], broken: dict[int, str], fd: int, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    """Starts `loadkit …` with some of its streams broken; a pipe is on the others."""
    closing = "".join(f" {number}>&-" for number, condition in broken.items() if condition == "closed")
    streams = {
        name: fd if number in broken else subprocess.PIPE for number, name in enumerate(("stdin", "stdout", "stderr"))
    }
    command = ["/bin/sh", "-c", f'exec "$@"{closing}', "sh", *LOADKIT, *words]
    return subprocess.Popen(command, cwd=cwd, text=True, **streams, **more)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of an echo server, for as many connections as come one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(ConnectionResetError):
                    while got := connection.recv(65536):
                        connection.sendall(got)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def cases() -> Iterator[Any]:
    """Yields the whole table, for `make streams`; one row of each command is not lengthy."""
    rows = [(stream, condition) for stream, condition in itertools.product(STREAMS, CONDITIONS)]
    rows.remove(("stdout", "unread"))  # which waits: the tests below
    rows.remove(("all", "unread"))
    sample = itertools.cycle(itertools.product(("stdout", "all"), ("closed", "full", "gone")))
    for name, usual in zip(COMMANDS, sample, strict=False):
        for row in rows:
            marks = () if row == usual else (pytest.mark.lengthy,)
            yield pytest.param(name, *row, id=f"{name}-{row[0]} {row[1]}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stream", "condition"), list(cases()))
def test_a_command_ends_as_usual_whatever_its_streams_lead_to(
    tmp_path: Path, echo: int, name: str, stream: str, condition: str
) -> None:
    words, status = COMMANDS[name]
    words = tuple(word.format(echo=echo) for word in words)
    with led_to(condition) as fd, start(words, dict.fromkeys(STREAMS[stream], condition), fd, tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    if "-o" in words:
        assert json.loads((tmp_path / "run.json").read_text())["format"] == "loadkit-record"
    said = [line for line in (err or "").splitlines() if "standard output" in line]
    if stream == "stdout":
        # A complaint is not printed there. A reader that has gone wants to know nothing, and who closed it neither.
        assert len(said) == (condition == "full" and name not in COMPLAINING)
        assert len(err.splitlines()) == len(said) + (name in COMPLAINING)
    elif stream == "stderr":
        assert (out == "") == (name in COMPLAINING)
    assert "Traceback" not in f"{out}{err}"


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["bash_source", "bash_complete"])
def test_what_a_shell_asks_for_is_dropped_if_it_cannot_be_written(tmp_path: Path, asked: str) -> None:
    program = "import sys; sys.argv[0] = 'loadkit'; from loadkit.__main__ import main; main()"
    env = {**os.environ, "_LOADKIT_COMPLETE": asked, "COMP_WORDS": "loadkit bla", "COMP_CWORD": "1"}
    for condition, lines in (("full", 1), ("gone", 0)):
        with led_to(condition) as fd:
            command = [sys.executable, "-c", program]
            done = subprocess.run(
                command, env=env, cwd=tmp_path, stdout=fd, stderr=subprocess.PIPE, text=True, timeout=60, check=False
            )
        assert (done.returncode, done.stderr.count("\n")) == (0, lines), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_report_waits_for_its_reader(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fill(writing)
    with start(BLAST, {1: "unread"}, writing, tmp_path) as process, os.fdopen(reading, "rb") as pipe:
        os.close(writing)
        wait_for((tmp_path / "run.json").exists)
        time.sleep(1.5)  # longer than anything else waits for room
        assert process.poll() is None
        got = pipe.read().decode().lstrip("x")
        _out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (3, "")
    assert got.startswith(("valid", "suspect"))
    assert got.rstrip().splitlines()[-1].strip()


@pytest.mark.slow
def test_sigterm_ends_a_report_that_waits_for_its_reader(tmp_path: Path) -> None:
    with led_to("unread") as fd, start(BLAST, {1: "unread"}, fd, tmp_path) as process:
        wait_for((tmp_path / "run.json").exists)
        time.sleep(0.5)  # by then it waits, most likely; it must end in any case
        process.terminate()
        _out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "quiet"), [("closed", ()), ("full", ("-q",)), ("gone", ("-q",)), ("unread", ())], ids=CONDITIONS
)
def test_serve_replaces_its_workers_and_stops_whatever_its_streams_lead_to(
    tmp_path: Path, condition: str, quiet: tuple[str, ...]
) -> None:
    words = ("serve", "127.0.0.1:0", "-w", "1", "--ready-file", "ready.json", "-o", "serve.json", *quiet)
    broken = dict.fromkeys((0, 1, 2), condition)
    with led_to(condition) as fd, start(words, broken, fd, tmp_path, start_new_session=True) as process:
        try:
            wait_for((tmp_path / "ready.json").exists)
            ready = json.loads((tmp_path / "ready.json").read_text())
            os.kill(ready["workers"][0]["pid"], signal.SIGKILL)
            wait_for(lambda: echoes(ready["port"]))
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert json.loads((tmp_path / "serve.json").read_text())["server"]["restarts"] == 1


def echoes(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"hello")
            return sock.recv(5) == b"hello"
    except OSError:
        return False


# -- a stream by itself


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_what_was_dropped_is_said_once_when_there_is_room(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    stream = Stream(writing, "utf-8", 0.0)
    monkeypatch.setattr(sys, "stderr", stream)
    got = []
    for _ in range(2):
        fill(writing)
        for number in range(3):
            stream.write(f"{number}\n")
        os.read(reading, 65536)
        stream.write("again\n")
        got.append(os.read(reading, 65536).decode())
    assert got == ["loadkit: standard error was not read: 3 message(s) for it were dropped\nagain\n", "again\n"]


def test_a_stream_is_as_patient_as_it_is_told_and_then_not_at_all(pipe: tuple[int, int]) -> None:
    stream = Stream(pipe[1], "utf-8", 0.5)
    fill(pipe[1])
    waits = []
    for _ in range(2):
        begin = time.monotonic()
        stream.write("dropped\n")
        waits.append(time.monotonic() - begin)
    assert waits[0] >= 0.5
    assert waits[1] < waits[0] / 2


def test_a_socket_that_is_not_read_drops_what_has_no_room() -> None:
    ours, theirs = socket.socketpair()  # as systemd gives it to a service
    with ours, theirs:
        stream = Stream(ours.fileno(), "utf-8", 0.1)
        stream.write("x" * 10_000_000)
        stream.write("dropped\n")
        assert 0 < len(theirs.recv(20_000_000)) < 10_000_000


def test_a_stream_does_not_touch_the_flags_of_a_pipe_that_others_write_to(pipe: tuple[int, int]) -> None:
    Stream(pipe[1], "utf-8", None).write("x" * 10_000)
    assert os.get_blocking(pipe[1])
    assert os.read(pipe[0], 65536) == b"x" * 10_000


def test_a_terminal_that_stands_still_drops_what_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    try:
        stream = Stream(follower, "utf-8", 0.1)
        stream.write("y" * 1_000_000)  # which no terminal takes unread
        assert select.select([leader], [], [], 0)[0]
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.parametrize(("columns", "width"), [(80, 80), (100, 100), (300, 100), (20, 72), (0, 100)])
def test_a_report_is_as_wide_as_its_terminal_within_bounds(columns: int, width: int) -> None:
    leader, follower = os.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        assert width_of(Stream(follower, "utf-8", None)) == width
    finally:
        os.close(leader)
        os.close(follower)


def test_a_report_that_does_not_go_to_a_terminal_has_100_columns(pipe: tuple[int, int]) -> None:
    assert width_of(Stream(pipe[1], "utf-8", None)) == 100


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "caf\u00e9 \u2026 \U0001f600 \\udcff".encode()),
        ("latin-1", b"caf\xe9 \\u2026 \\ud83d\\ude00 \xff"),
        ("ascii", b"caf\\u00e9 \\u2026 \\ud83d\\ude00 \xff"),
    ],
)
def test_a_character_that_cannot_be_shown_is_escaped(pipe: tuple[int, int], encoding: str, written: bytes) -> None:
    text = "caf\u00e9 \u2026 \U0001f600 \udcff"  # at its end a byte of a file's name
    assert Stream(pipe[1], encoding, None).write(text) == len(text)
    got = os.read(pipe[0], 100)
    assert got == written
    if encoding == "ascii":
        assert json.loads(f'"{got[:-1].decode()}"') == text[:-1]
