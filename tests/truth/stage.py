"""How a run of the table of verdicts is made: the target, the load, and what disturbs either of them meanwhile.

A maker is a function of a stage; it returns the run once it has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Serve
from tests.namespaces import network_namespace
from tests.process.control_groups import control_group

from .conftest import PEER, Run, start_peer
from .witness import FIRST

TIMED_PEER = PEER.with_name("timed_peer.py")
# The kinds that the one of the two peers knows.
TIMED = ("delay", "serial", "first")
MESSAGE_BYTES = 64


@dataclass(frozen=True)
class Stage:
    """What the fixtures give: the command, loadkit's server, and a folder."""

    blast: Callable[..., Run]
    serve: Serve
    folder: Path


@dataclass(frozen=True)
class Target:
    """A peer as a process."""

    process: subprocess.Popen[str]
    port: int

    def wait_until_told(self) -> None:
        """Waits until it has had the messages it was to wait for."""
        assert self.process.stdout
        assert self.process.stdout.readline()


Maker = Callable[[Stage], Run]
# What happens in the middle of a run.
Act = Callable[[Run, Target], None]
# Around a run: yields what the command is put behind.
Around = Callable[[], AbstractContextManager[tuple[str, ...]]]


@contextlib.contextmanager
def target(kind: str, tell: int | None = None, behind: tuple[str, ...] = ()) -> Iterator[Target]:
    """Starts the peer of that kind, with its arguments; it tells when it has had `tell` messages."""
    words = kind.split()
    told = [] if tell is None else ["--tell", str(tell * MESSAGE_BYTES)]
    process = start_peer(TIMED_PEER if words[0] in TIMED else PEER, *words, *told, behind=behind)
    try:
        assert process.stdout
        yield Target(process, int(process.stdout.readline()))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.communicate(timeout=60)


# -- makers


def at(kind: str, options: str, profile: str = "", around: Around | None = None) -> Maker:
    """A run at a peer of that kind, perhaps inside of something; `profile` is the text of one."""

    def make(stage: Stage) -> Run:
        more: tuple[str, ...] = ()
        if profile:
            path = stage.folder / "made.toml"
            path.write_text(profile)
            more = ("--profile", str(path))
        with target(kind) as peer, around() if around else contextlib.nullcontext(()) as wrapper:
            run = stage.blast(f"127.0.0.1:{peer.port}", *options.split(), *more, wrapper=wrapper)
            run.end()
        return run

    return make


def at_server(serve_options: str, options: str, address: str = "127.0.0.1:0", behind: tuple[str, ...] = ()) -> Maker:
    """A run at `loadkit serve` on the first core (blast has the last), both perhaps behind another command."""

    def make(stage: Stage) -> Run:
        apart = (*behind, "taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
        served = stage.serve(*serve_options.split(), address=address, wrapper=apart)
        host = address.rpartition(":")[0]
        run = stage.blast(f"{host}:{served.port}", *options.split(), wrapper=behind)
        run.end()
        return run

    return make


def alone(options: str, around: Around | None = None) -> Maker:
    """A run with its embedded server, perhaps inside of something."""

    def make(stage: Stage) -> Run:
        with around() if around else contextlib.nullcontext(()) as wrapper:
            run = stage.blast(*options.split(), wrapper=wrapper)
            run.end()
        return run

    return make


def meanwhile(act: Act, kind: str, options: str, after: int) -> Maker:
    """A run at a peer; once that has had `after` messages, the act takes place.

    The messages of the ramp are one per connection: with more the measured part has begun, if there is no warm-up.
    """

    def make(stage: Stage) -> Run:
        with target(kind, after) as peer:
            run = stage.blast(f"127.0.0.1:{peer.port}", *options.split())
            peer.wait_until_told()
            act(run, peer)
            run.end()
        return run

    return make


# -- what happens meanwhile


def stop_worker(seconds: float) -> Act:
    """Stops the first blast worker for so long."""

    def act(run: Run, _peer: Target) -> None:
        [worker] = run.workers("loadkit-blast-0")
        os.kill(worker, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(worker, signal.SIGCONT)

    return act


def stop_everything(seconds: float) -> Act:
    """Stops each process of the command for so long, as a terminal or a laptop's lid does."""

    def act(run: Run, _peer: Target) -> None:
        os.killpg(run.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(run.process.pid, signal.SIGCONT)

    return act


def stop_peer(seconds: float | None) -> Act:
    """Stops the target for so long; None for good."""

    def act(_run: Run, peer: Target) -> None:
        peer.process.send_signal(signal.SIGSTOP)
        if seconds is not None:
            time.sleep(seconds)
            peer.process.send_signal(signal.SIGCONT)

    return act


def kill_peer(_run: Run, peer: Target) -> None:
    """Kills the target."""
    peer.process.kill()


def kill_worker(run: Run, _peer: Target) -> None:
    """Kills the first blast worker."""
    [worker] = run.workers("loadkit-blast-0")
    os.kill(worker, signal.SIGKILL)


def interrupt(seconds: float) -> Act:
    """Presses Ctrl-C after so long."""

    def act(run: Run, _peer: Target) -> None:
        time.sleep(seconds)
        os.kill(run.process.pid, signal.SIGINT)

    return act


def crowd_out(seconds: float) -> Act:
    """Runs a busy loop of the highest nice level on the core of the first blast worker, for so long; not the peer's."""

    def act(run: Run, peer: Target) -> None:
        [worker] = run.workers("loadkit-blast-0")
        [core] = os.sched_getaffinity(worker)
        os.sched_setaffinity(peer.process.pid, os.sched_getaffinity(0) - {core})
        loop = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
        with subprocess.Popen([*FIRST, sys.executable, "-c", loop], start_new_session=True) as process:
            time.sleep(seconds)
            process.kill()

    return act


# -- around a run


@contextlib.contextmanager
def one_core() -> Iterator[tuple[str, ...]]:
    """Allows one core."""
    yield ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))


def quota(us_of_100ms: int) -> Around:
    """A control group with so much CPU."""
    return lambda: control_group("cpu", us_of_100ms)


def few_ports(first: int, last: int) -> Around:
    """A network namespace with these local ports, none of which comes again within a minute."""

    @contextlib.contextmanager
    def around() -> Iterator[tuple[str, ...]]:
        yield network_namespace(ip_local_port_range=f"{first} {last}", tcp_tw_reuse=0)

    return around
