"""What a test of the doctor does inside of a namespace of its own: sets it up, asks, and really runs.

Reads a JSON object from standard input and writes one to standard output. It is one process for all of it: starting
`loadkit` anew for each step would take longer than the steps.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# An echo server at port 7000 of all addresses: sys.argv[1] is the family.
_ECHO = """
import select, socket, sys
listener = socket.socket(getattr(socket, sys.argv[1]))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if listener.family == socket.AF_INET6:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
listener.bind(("", 7000))
listener.listen(4096)
epoll, peers = select.epoll(), {}
epoll.register(listener, select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, _events in epoll.poll():
        if fd == listener.fileno():
            peer, _address = listener.accept()
            peers[peer.fileno()] = peer
            epoll.register(peer, select.EPOLLIN)
            continue
        try:
            message = peers[fd].recv(65536)
            if message:
                peers[fd].sendall(message)
        except OSError:
            message = b""
        if not message:
            peers.pop(fd).close()
"""
# sys.argv[1] connections to the other machine's server.
_OTHERS = """
import socket, sys, time
kept = [socket.create_connection(("10.9.0.2", 7000)) for _ in range(int(sys.argv[1]))]
print("ready", flush=True)
time.sleep(600)
"""
_OTHER_MACHINE = """
ip link add v0 type veth peer name v1 netns {pid}
ip addr add 10.9.0.1/24 dev v0; ip -6 addr add fd00:9::1/64 dev v0 nodad; ip link set v0 up
nsenter -t {pid} -n sh -c 'ip link set lo up; ip addr add 10.9.0.2/24 dev v1; ip -6 addr add fd00:9::2/64 dev v1 nodad
    ip link set v1 up; ip route add 10.8.0.0/16 via 10.9.0.1; ip -6 route add fd00:8::/64 via fd00:9::1'
"""


class Stage:
    """The namespace, with what has been started in it."""

    def __init__(self, is_remote: bool) -> None:
        self._started: list[subprocess.Popen[str]] = []
        self._inside: tuple[str, ...] = ()
        if is_remote:
            other = self._start("unshare", "--net", "sh", "-c", "echo ready; exec sleep 600")
            shell(_OTHER_MACHINE.format(pid=other.pid))
            self._inside = ("nsenter", "-t", str(other.pid), "-n")

    def serve(self) -> None:
        """Starts echo servers of both families, on the other machine if there is one."""
        for family in ("AF_INET", "AF_INET6"):
            self._start(*self._inside, sys.executable, "-S", "-c", _ECHO, family)

    def connect(self, count: int) -> None:
        """Has another process of this machine keep so many connections to the other one open."""
        self._start(sys.executable, "-S", "-c", _OTHERS, str(count))

    def _start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self) -> None:
        """Ends what was started."""
        for process in self._started:
            process.kill()
            process.communicate()


def shell(lines: str) -> None:
    """Runs them in a shell, each of which has to succeed."""
    done = subprocess.run(["sh", "-ec", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (lines, done.stderr)


def loadkit(*arguments: str) -> tuple[int, str, str]:
    """Runs a command in this process; returns exit status, stdout, stderr."""
    from loadkit.cli.app import run

    sys.argv = ["loadkit", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
        except SystemExit as left:
            status = left.code
    return int(str(status or 0)), out.getvalue(), err.getvalue()


def blast(arguments: list[str], path: str) -> dict[str, Any]:
    """Really runs; returns how it ended, with what went wrong of its connections."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    status, _out, err = loadkit("blast", *arguments, "--no-progress", "-o", path)
    record = json.loads(Path(path).read_text()) if Path(path).exists() else None
    return {
        "status": status,
        "err": err,
        "opened": record and record["connections"]["opened"],
        "errors": record and {f"{row['step']} {row['error']}": row["count"] for row in record["errors"]},
        "verdict": record and record["verdict"]["state"],
    }


def unrefused() -> None:
    """Has blast begin what it would refuse: neither the preflight nor the plan looks at what the machine has."""
    from loadkit.library import prepare
    from loadkit.plan import routes, serve

    prepare.preflight = lambda _demand: ()  # type: ignore[attr-defined]
    for room in (routes, serve):
        room.ports_of = lambda *_, **__: 2**31  # type: ignore[attr-defined]


def main() -> None:
    """Does what standard input says."""
    asked = json.load(sys.stdin)
    out = os.dup(1)
    stage = Stage(asked["is_remote"])
    try:
        shell(asked["setup"])
        if asked["serves"]:
            stage.serve()
        if asked["others"]:
            stage.connect(asked["others"])
        for line in asked["before"]:
            loadkit(*line)
        found: dict[str, Any] = {}
        if asked["doctor"] is not None:
            status, text, err = loadkit("doctor", "--json", *asked["doctor"])
            found["doctor"] = {"status": status, "err": err, **json.loads(text or "{}")}
        found["run"] = blast(asked["blast"], asked["path"])
        if asked["goes_on"] and found["run"]["opened"] is None:
            unrefused()
            found["truth"] = blast(asked["blast"], asked["path"])
        os.write(out, json.dumps(found).encode())
    finally:
        stage.end()


if __name__ == "__main__":
    main()
