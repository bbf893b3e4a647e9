"""What counting wake-ups costs: the same load with and without, in alternating pairs, one core each end.

python tests/bench/wakeups.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pairs import compile_floor, figures_of, floor_server, loadkit_blast, ratio_row, ratio_table

CONNECTIONS = 50
LEAST = 0.98
# Read by every Python before anything else: uvloop is left to libuv's own metrics, looked at ten times a second, and
# asyncio's selector to its parent's method.
UNCOUNTED = """
import selectors, sys
sys.modules["loadkit.engine.aio._hook"] = None
import loadkit.engine.aio.wakeups
del loadkit.engine.aio.wakeups.CountingSelector.select
"""


def rate(port: int, engine: str, seconds: float, path: str) -> float:
    os.environ["PYTHONPATH"] = path
    options = ["-c", str(CONNECTIONS), "-d", f"{seconds}s", "--warmup", "500ms", "--engine", engine]
    record = loadkit_blast(port, *options)
    source = (record["wakeups"] or {}).get("source")
    if (source in ("hook", "selector")) is bool(path) and not (path and engine == "asyncio"):
        raise RuntimeError(f"wake-ups were counted by {source}")
    return figures_of(record).per_s


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.5
    missed = 0
    of = f"{rounds} pairs of {seconds:g} s"
    caption = f"Replies/s with wake-ups counted, and without: {CONNECTIONS} connections, closed loop, {of}"
    table = ratio_table(caption, ("counted/s", "not counted/s"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(UNCOUNTED)
        floor = compile_floor(Path(folder))
        if floor is None:
            print("wakeups: skipped, there is no C compiler for the floor")
            return 1
        for engine in ("uvloop", "asyncio"):
            pairs = []
            with floor_server(floor) as ready:
                for index in range(rounds):
                    order = ("", folder) if index % 2 else (folder, "")
                    rates = {path: rate(ready["port"], engine, seconds, path) for path in order}
                    pairs.append((rates[""], rates[folder]))
            missed += not ratio_row(table, engine, pairs, LEAST)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
