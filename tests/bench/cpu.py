"""CPU time a reply, user and system apart, of each engine, of the floor, and of sockperf where it can do the same.

Closed loop, 64 B, one core each end. The other end is the floor's server for a blast end, the floor's client for a
serve end, so that a row tells of one program. sockperf sends one message at a time whatever the number of connections,
so it stands beside one connection only.

python tests/bench/cpu.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from markdown import Table
from pairs import (
    BLAST_CORE,
    SERVE_CORE,
    Figures,
    compile_floor,
    cpu_seconds,
    figures_of,
    floor_blast,
    floor_server,
    loadkit_blast,
    loadkit_server,
)

from tests.ports import free_port

ENGINES = ("native", "uvloop", "asyncio")
CONNECTIONS = (1, 50, 1000)
SIZE = 64


def blast_end(engine: str, port: int, connections: int, seconds: float) -> Figures:
    options = ["-c", str(connections), "-d", f"{seconds:g}s", "--warmup", "300ms", "--engine", engine]
    return figures_of(loadkit_blast(port, *options))


def serve_end(ready: dict[str, Any], load: Callable[[], Figures], seconds: float) -> Figures:
    """Returns the serve end's CPU time a reply under that load."""
    pid = ready["workers"][0]["pid"]
    user, system = cpu_seconds(pid)
    loaded = load()
    user_after, system_after = cpu_seconds(pid)
    replies = loaded.per_s * seconds
    return Figures(loaded.per_s, (user_after - user) / replies * 1e6, (system_after - system) / replies * 1e6)


@contextlib.contextmanager
def sockperf_server() -> Iterator[dict[str, Any]]:
    port = free_port()
    command = ["sockperf", "server", "--tcp", "-i", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(["taskset", "-c", SERVE_CORE, *command], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # it answers sockperf's own protocol only
        yield {"port": port, "workers": [{"pid": process.pid}]}
    finally:
        process.kill()
        process.wait()


def sockperf_client(port: int, seconds: float) -> Figures:
    """Runs sockperf's ping-pong; its CPU time is all of it, the 0.4 s of its warm-up too, and so are its replies."""
    command = ["sockperf", "ping-pong", "--tcp", "-i", "127.0.0.1", "-p", str(port), "-m", str(SIZE)]
    command += ["-t", str(max(1, round(seconds)))]  # whole seconds
    with tempfile.NamedTemporaryFile("r") as times:
        timed = ["/bin/sh", "-c", 'exec 3>"$0"; "$@"; times >&3', times.name, "taskset", "-c", BLAST_CORE, *command]
        done = subprocess.run(timed, check=True, capture_output=True, text=True, timeout=120)
        user, system = (_seconds(text) for text in times.read().splitlines()[1].split())
    replies = int(done.stdout.split("ReceivedMessages=")[1].split()[0])
    run_s = float(done.stdout.split("RunTime=")[1].split()[0])
    return Figures(replies / run_s, user / replies * 1e6, system / replies * 1e6)


def _seconds(text: str) -> float:
    """Reads 0m1.230s, as the shell's `times` prints it."""
    minutes, _, seconds = text.removesuffix("s").partition("m")
    return 60 * int(minutes) + float(seconds)


def one_round(floor: Path, connections: int, seconds: float) -> dict[str, Figures]:
    figures = {}

    def floor_load(port: int) -> Figures:
        return floor_blast(floor, port, connections, SIZE, seconds)

    with floor_server(floor) as ready:
        figures["blast/floor"] = floor_load(ready["port"])
        for engine in ENGINES:
            figures[f"blast/{engine}"] = blast_end(engine, ready["port"], connections, seconds)
        figures["serve/floor"] = serve_end(ready, lambda: floor_load(ready["port"]), seconds)
    for engine in ENGINES:
        with loadkit_server(engine) as served:
            port = served["port"]
            figures[f"serve/{engine}"] = serve_end(served, lambda port=port: floor_load(port), seconds)  # type: ignore[misc]
    if connections == 1 and shutil.which("sockperf"):
        with sockperf_server() as ready:
            figures["blast/sockperf"] = sockperf_client(ready["port"], seconds)
            figures["serve/sockperf"] = serve_end(ready, lambda: sockperf_client(ready["port"], seconds), seconds)
    return figures


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("cpu: skipped, there is no C compiler for the floor")
            return 0
        of = f"medians of {rounds} rounds of {seconds:g} s"
        caption = f"CPU time per reply (us), closed loop, {SIZE} B, one core for each end, {of}"
        titles = ("user", "system", "total", "least", "most")
        columns = {"connections": 11, "end": 15, **dict.fromkeys(titles, 6), "replies/s": 9}
        table = Table(caption, columns)
        for connections in CONNECTIONS:
            runs = [one_round(floor, connections, seconds) for _ in range(rounds)]
            for name in sorted(runs[0], key=lambda name: (name.split("/")[0], list(runs[0]).index(name))):
                both = [run[name].user_us + run[name].system_us for run in runs]
                user = statistics.median(run[name].user_us for run in runs)
                system = statistics.median(run[name].system_us for run in runs)
                rate = statistics.median(run[name].per_s for run in runs)
                times = (user, system, statistics.median(both), min(both), max(both))
                table.row(f"{connections:,}", name, *(f"{time:.2f}" for time in times), f"{rate:,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
