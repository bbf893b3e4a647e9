"""--send, --order and sizes that differ, as a shell has them: what goes out, what is said, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadkit.engine.compiled import native_missing
from loadkit.report.formats import FORMATS

from .conftest import Loadkit

_SECRET = "hunter2 of a file"
_QUICK = ("--warmup", "0s", "--no-progress", "--no-pin")
_ENGINES = ["uvloop", *([] if native_missing() else ["native"])]

Peer = Callable[[], list[bytes]]


@pytest.fixture
def peer() -> Iterator[tuple[str, Peer]]:
    """An echo server at a place, and what has come to it, each connection's bytes together."""
    came: dict[int, bytearray] = {}
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(sock: socket.socket, mine: bytearray) -> None:
        with sock, contextlib.suppress(OSError):
            while chunk := sock.recv(65536):
                mine.extend(chunk)
                sock.sendall(chunk)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _address = listener.accept()
                mine = came.setdefault(len(came), bytearray())
                threading.Thread(target=serve, args=(sock, mine), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", lambda: [bytes(mine) for mine in came.values()]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(20)


@pytest.mark.parametrize("engine", _ENGINES)
def test_texts_go_out_in_turn_with_their_fields(loadkit: Loadkit, peer: tuple[str, Peer], engine: str) -> None:
    where, came = peer
    texts = ("--send", "get {n:6} {rand:10-99}\\r\\n", "--send", "put {conn:2}{worker:1} {{x}}\\r\\n")
    done = loadkit("blast", where, "-c", 2, "-w", 2, "-n", 40, "--engine", engine, *texts, *_QUICK, "-o", "run.json")
    assert done.returncode == 0, done.stderr
    lines = [sent.decode().splitlines() for sent in came()]
    gets, puts = ([line for sent in lines for line in sent[place::2]] for place in (0, 1))
    assert all(re.fullmatch(r"get \d{6} \d\d", line) for line in gets)
    assert {re.fullmatch(r"put (\d\d)(\d) \{x\}", line).groups() for line in puts} == {("00", "0"), ("01", "1")}  # type: ignore[union-attr]
    numbers = sorted(int(line.split()[1]) for line in gets)
    assert len(set(numbers)) == len(numbers)
    assert "messages of 2 texts in turn (mean " in done.stdout


def test_what_is_in_a_file_is_sent_and_shown_nowhere(loadkit: Loadkit, peer: tuple[str, Peer], tmp_path: Path) -> None:
    where, came = peer
    (tmp_path / "secret").write_text(f"AUTH {_SECRET}\n")
    (tmp_path / "keys").write_text(f"{_SECRET}-1\n{_SECRET}-2\n")
    texts = ("--send", "@secret", "--send", "get {choice:keys}\\n")
    planned = loadkit("blast", where, *texts, "--dry-run")
    outputs = [word for suffix in FORMATS for word in ("-o", f"run{suffix}")]
    done = loadkit("blast", where, "-c", 1, "-n", 4, *texts, *_QUICK, *outputs, env={"LOADKIT_LOG": "debug"})
    assert (planned.returncode, done.returncode) == (0, 0), (planned.stderr, done.stderr)
    assert b"".join(came()).count(_SECRET.encode()) == 4 + 1
    shown = [planned.stdout, planned.stderr, done.stdout, done.stderr]
    shown += [(tmp_path / f"run{suffix}").read_text() for suffix in FORMATS]
    assert [text for text in shown if "hunter2" in text] == []
    content = (tmp_path / "secret").read_bytes()
    [file, _keys] = json.loads((tmp_path / "run.json").read_text())["load"]["files"]
    digest = hashlib.sha256(content).hexdigest()[:16]
    assert file == {"name": "secret", "size_bytes": len(content), "sha256": digest, "content": "***"}
    assert json.loads(planned.stdout)["load"]["files"][0] == file


def test_sizes_that_differ_are_counted_to_the_byte(loadkit: Loadkit, peer: tuple[str, Peer], tmp_path: Path) -> None:
    where, came = peer
    done = loadkit("blast", where, "-c", 2, "-n", 200, "-s", "list:100:9,5000:1", *_QUICK, "-o", "run.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["load"]["sizes"] == "list:100B:9,5000B:1"
    assert record["load"]["size_bytes"] == 590  # 0.9 * 100 + 0.1 * 5000
    # Beside the window's messages there are the first ones of the connections.
    sent = record["window"]["sent_bytes"]
    all_bytes = sum(map(len, came()))
    assert all_bytes - 2 * 5000 <= sent <= all_bytes
    assert "messages of list:100B:9,5000B:1 (mean " in done.stdout


def test_the_same_seed_sends_the_same_sizes(loadkit: Loadkit, peer: tuple[str, Peer]) -> None:
    where, came = peer
    for _ in range(2):
        done = loadkit("blast", where, "-c", 1, "-n", 50, "-s", "exp:1KiB", "--seed", 7, *_QUICK)
        assert (done.returncode, "seed 7" in done.stdout) == (0, True), done.stderr
    one, other = came()
    assert one == other
    assert len(set(one)) > 200  # the ramp of all bytes


def test_a_profile_and_the_environment_say_it_too(loadkit: Loadkit, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('send = ["get {n}\\n", "hex:00 1d"]\norder = "random"\n')
    done = loadkit("blast", "--profile", "own.toml", "--dry-run")
    assert done.returncode == 0, done.stderr
    load = json.loads(done.stdout)["load"]
    assert (load["send"], load["order"]) == (["get {n}\n", "hex:00 1d"], "random")
    assert load["pool"]["is_random"]
    done = loadkit("blast", "--dry-run", env={"LOADKIT_BLAST_SEND": "get  {n} \\n"})
    assert json.loads(done.stdout)["load"]["send"] == ["get  {n} \\n"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--send", "get {nn}"), "--send 'get {nn}': column 5: unknown field {nn}: there are {n} {conn}"),
        (("--send", "@missing"), "--send: cannot read missing: No such file or directory"),
        (("--send", "x", "-s", "64"), "--send and -s exclude each other"),
        (("-s", "0"), "--size: 0 B is below the minimum of 1 B"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_run_in_one_line(
    loadkit: Loadkit, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = loadkit("blast", *arguments, "-o", "run.json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "run.json").exists()
