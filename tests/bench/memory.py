"""User memory per idle connection on each end, per engine: the growth of PSS from 100 to 10,000 connections.

python tests/bench/memory.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from markdown import Table
from pairs import LOADKIT, loadkit_server, pss_bytes, worker_pids

FEW, MANY = 100, 10_000
MOST_BYTES = {"native": 200}


def pss_holding(engine: str, connections: int) -> tuple[int, int]:
    """Returns the PSS of (blast worker, serve worker) while `connections` are open and idle."""
    with loadkit_server(engine) as ready:
        command = [*LOADKIT, "blast", f"127.0.0.1:{ready['port']}", "-w", "1", "--engine", engine, "-q"]
        command += ["-c", str(connections), "-R", "1", "-d", "6s", "--warmup", "0s"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            blast = _wait_for_worker(process)
            serve = ready["workers"][0]["pid"]
            _wait_for_sockets(serve, connections)
            time.sleep(1.0)  # the first messages' buffers are given back
            return pss_bytes(blast), pss_bytes(serve)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for_worker(process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pids = worker_pids("loadkit-blast-0", os.getpgid(process.pid))
        if pids:
            return pids[0]
        time.sleep(0.02)
    raise TimeoutError("no blast worker")


def _wait_for_sockets(pid: int, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(list(Path(f"/proc/{pid}/fd").iterdir())) >= count:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{count} connections did not open")


def main() -> int:
    caption = f"User memory per idle connection (PSS, {FEW:,} to {MANY:,} connections), and of a worker with {FEW}"
    columns = {"engine": 8, "blast": 8, "serve": 8, "blast worker": 12, "serve worker": 12, "asked": 18}
    table = Table(caption, columns)
    missed = 0
    for engine in ("native", "uvloop", "asyncio"):
        few, many = pss_holding(engine, FEW), pss_holding(engine, MANY)
        blast, serve = ((after - before) / (MANY - FEW) for before, after in zip(few, many, strict=True))
        most = MOST_BYTES.get(engine)
        verdict = "" if most is None else f"at most {most} B: {'ok' if max(blast, serve) <= most else 'MISSED'}"
        missed += "MISSED" in verdict
        itself = (f"{few[0] / 2**20:.1f} MiB", f"{few[1] / 2**20:.1f} MiB")
        table.row(engine, f"{blast:,.0f} B", f"{serve:,.0f} B", *itself, verdict)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
