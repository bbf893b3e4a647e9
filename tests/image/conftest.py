"""The image and containers of it, for the checks that `make test-image` runs beside an engine."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = "loadkit-under-test"
# As tests/image/with-engine tells it.
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))

# How little a container may have: what docs/ci.md shows, and less.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--ulimit", "nofile=4096:4096")

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def docker(*arguments: object, timeout: float = 60) -> Done:
    """Runs `docker …` and returns what it said."""
    return subprocess.run([*DOCKER, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False)


def inspect(what: str, template: str) -> Any:
    """Returns a part of what docker knows of a container or an image."""
    done = docker("inspect", "--format", f"{{{{json {template}}}}}", what)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make(target: str) -> Done:
    """Runs a target of the Makefile with this engine and the image's name."""
    values = [f"IMAGE={IMAGE}", f"DOCKER={shlex.join(DOCKER)}", f"BUILD={os.environ.get('BUILD', '')}"]
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    return subprocess.run(
        ["make", target, *values], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@dataclass(frozen=True)
class Container:
    """A container that runs in the background."""

    id: str

    def wait(self, timeout: float = 60) -> int:
        """Waits for its end; returns its exit status."""
        return int(docker("wait", self.id, timeout=timeout).stdout)

    def wait_until_healthy(self) -> None:
        """Waits for its health check to succeed."""
        self.wait_for(lambda: inspect(self.id, ".State.Health.Status") == "healthy", "not healthy")

    def wait_for(self, is_so: Callable[[], bool], complaint: str) -> None:
        """Waits until something is so, as long as it runs."""
        deadline = time.monotonic() + 40
        while not is_so():
            if time.monotonic() > deadline or not inspect(self.id, ".State.Running"):
                raise AssertionError(f"{complaint}: {self.logs()} {inspect(self.id, '.State')}")
            time.sleep(0.1)

    def logs(self) -> Done:
        """Returns what it has said so far."""
        return docker("logs", self.id)

    def execute(self, *command: object) -> Done:
        """Runs a command in it."""
        return docker("exec", self.id, *command)


@pytest.fixture(scope="session")
def image() -> str:
    """Builds the image and returns its name."""
    done = make("image")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return IMAGE


@pytest.fixture
def run(image: str) -> Run:
    """Runs `loadkit …` in a container with few rights and the host's network, to its end.

    `flags` are more options of docker.
    """

    def to_its_end(*arguments: object, flags: tuple[object, ...] = (), network: str = "host") -> Done:
        return docker("run", "--rm", "--network", network, *HARDENED, *flags, image, *arguments)

    return to_its_end


@pytest.fixture
def start(image: str) -> Iterator[Callable[..., Container]]:
    """Starts `loadkit …` in such a container in the background, and takes it away at the end."""
    started: list[str] = []

    def in_background(*arguments: object, flags: tuple[object, ...] = ()) -> Container:
        done = docker("run", "--detach", "--network", "host", *HARDENED, *flags, image, *arguments)
        assert done.returncode == 0, done.stderr
        started.append(done.stdout.strip())
        return Container(started[-1])

    yield in_background
    for container in started:
        docker("rm", "--force", container)


@dataclass(frozen=True)
class Server:
    """`loadkit serve` in a container, which is healthy."""

    container: Container
    port: int

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def server(start: Callable[..., Container]) -> Server:
    """Starts a server that listens where its environment says."""
    port = free_port()
    flags = ("--env", f"LOADKIT_SERVE_LISTEN=0.0.0.0:{port}", "--health-interval", "500ms")
    container = start("serve", flags=flags)
    container.wait_until_healthy()
    return Server(container, port)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Returns a folder of somebody's, and docker's options that mount it and make that somebody run."""
    folder = tmp_path / "out"
    folder.mkdir()
    user, group = (os.getuid(), os.getgid()) if os.getuid() else (1234, 5678)
    os.chown(folder, user, group)
    # pytest's own folders are their owner's alone; a mount is looked up by the engine, which is root.
    yield folder, ("--user", f"{user}:{group}", "--volume", f"{folder}:/out")
    with contextlib.suppress(PermissionError):
        os.chown(folder, os.getuid(), os.getgid())
