"""`loadkit blast --first`: a service that greets and wants a login, from the command line to the record."""

from __future__ import annotations

import json
import shlex
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import commands, page

from .conftest import Loadkit

_SECRET = "hunter2"


class _Service(socketserver.StreamRequestHandler):
    """Greets, takes a login of two lines, and is an echo server from then on."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready, who is there?\r\n")
        if self.rfile.readline() != f"AUTH {_SECRET}\r\n".encode():
            self.wfile.write(b"535 go away\r\n")
            return
        self.wfile.write(b"250-welcome\r\n250 go on\r\n")
        while chunk := self.request.recv(65536):
            self.request.sendall(chunk)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """The blast end closes by a reset when it is done."""


@pytest.fixture
def service() -> Iterator[int]:
    """A server of that kind; returns its port."""
    with _Server(("127.0.0.1", 0), _Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


_LOGIN = ("--first", "", "--first", "@login", "--first-expect", "line", "--first-expect", "line-code")
_SHORT = ("-c", 20, "-n", 200, "-w", 1, "--no-progress")


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_a_run_logs_in_on_each_connection_and_says_how_long_that_took(
    loadkit: Loadkit, service: int, tmp_path: Path, engine: str
) -> None:
    (tmp_path / "login").write_text(f"AUTH {_SECRET}\r\n")
    outputs = [word for suffix in ("json", "html", "md", "xml", "om") for word in ("-o", f"run.{suffix}")]
    slo = ("--slo", "handshake.max<30s", "--slo", "failed_connects==0")
    done = loadkit("blast", f"127.0.0.1:{service}", *_SHORT, *_LOGIN, *slo, *outputs, "--engine", engine)
    assert done.returncode == 0, done.stderr
    assert "handshake " in done.stdout
    record = json.loads((tmp_path / "run.json").read_text())
    histograms = record["histograms"]
    assert histograms["handshake"]["count"] == histograms["connect"]["count"] == 20
    assert "handshake" not in record["histograms_missing"]
    assert record["errors"] == []
    assert record["load"]["setup"][0] == {"text": "", "expect": "line", "check": "none"}
    # Nothing says the password, and nothing says the line that it is in.
    for text in [done.stdout, done.stderr, *(path.read_text() for path in tmp_path.glob("run.*"))]:
        assert _SECRET not in text
        assert "AUTH" not in text


def test_a_target_that_refuses_the_login_is_told_of_with_what_it_said(loadkit: Loadkit, service: int) -> None:
    wrong = ("--first", "", "--first", rf"AUTH {_SECRET}?\r\n", "--first", r"PING\r\n")
    done = loadkit("blast", f"127.0.0.1:{service}", *_SHORT, *wrong)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"loadkit: 127.0.0.1:{service} closed the first connection during its set-up, after it said "
    )
    assert "`220 ready, who is there?…`, this looks like SMTP or FTP; see what its log says of --first" in line
    assert _SECRET not in line


def test_a_reply_that_is_checked_and_wrong_is_shown(loadkit: Loadkit, service: int) -> None:
    login = ("--first", "", "--first", r"AUTH x\r\n", "--first-check", "none", "--first-check", "starts:250")
    done = loadkit("blast", f"127.0.0.1:{service}", *_SHORT, *login)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert " did not say in the set-up what --first-check asks for, after it said `220 ready, who is there?" in line


def test_the_environment_and_a_profile_say_it_too(loadkit: Loadkit, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("first = ['', 'AUTH  x\\r\\n']\nfirst_expect = ['line', 'line-code']\n")
    by_profile = loadkit("blast", "127.0.0.1:9", "--profile", "my.toml", "--dry-run")
    variables = {"LOADKIT_BLAST_FIRST": "\nAUTH  x\\r\\n", "LOADKIT_BLAST_FIRST_EXPECT": "line line-code"}
    by_environment = loadkit("blast", "127.0.0.1:9", "--dry-run", env=variables)
    said = [json.loads(done.stdout)["load"]["setup"] for done in (by_profile, by_environment)]
    assert said[0] == said[1]
    assert [one["expect"] for one in said[0]] == ["line", "line-code"]
    assert "AUTH" not in by_profile.stdout + by_environment.stdout


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 mail.example ESMTP\r\n")
        for line in self.rfile:
            self.wfile.write(b"250-mail.example\r\n250 HELP\r\n" if line.startswith(b"EHLO") else b"250 OK\r\n")


def test_the_example_of_the_page_runs(loadkit: Loadkit, tmp_path: Path) -> None:
    [command] = [line for line in commands(page("protocols")) if "--first 'EHLO" in line]
    words = shlex.split(command)
    assert words[:2] == ["loadkit", "blast"]
    with _Server(("127.0.0.1", 0), _Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = loadkit("blast", f"127.0.0.1:{server.server_address[1]}", *words[3:], "-o", "run.json")
        server.shutdown()
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["histograms"]["handshake"]["count"] == 50
    assert record["errors"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--first", r"a\q"), r"--first: column 2: unknown escape \q"),
        (("--first-expect", "line"), "--first-expect: given without a --first"),
        (("--slo", "handshake.p99<1s"), "--slo: handshake.p99<1s: this run has no handshake"),
    ],
)
def test_what_cannot_be_is_a_usage_error_before_the_run(loadkit: Loadkit, options: tuple[str, ...], said: str) -> None:
    done = loadkit("blast", "127.0.0.1:9", *options)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"loadkit: {said}")
