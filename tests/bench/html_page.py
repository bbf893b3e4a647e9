"""What a page costs: CPU time to write it, and its size. `make bench-page` prints the best of ten.

Of made-up runs, and of the records that RECORDS names: `make bench-page RECORDS="a.json b.json"`.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the command: threads that wait for work use CPU time, too

from loadkit.report.as_html import as_html
from loadkit.report.reading import load
from loadkit.report.record import RunRecord
from tests.pictured import PICTURED

_TIMES = 10


def _cost_s(record: RunRecord) -> tuple[float, int]:
    """Returns the CPU time of writing a page, and its size in bytes."""
    before = time.process_time()
    text = as_html(record)
    return time.process_time() - before, len(text.encode())


def main() -> None:
    """Prints a line for each run."""
    for name in ("minute", "disturbed", "hour"):
        _print_cost(name, PICTURED[name]())
    for path in sys.argv[1:]:
        _print_cost(path, load(path))


def _print_cost(name: str, record: RunRecord) -> None:
    costs = [_cost_s(record) for _ in range(_TIMES)]
    print(f"{name}: {min(costs)[0] * 1e3:.0f} ms of CPU time, {costs[0][1]:,} B")


if __name__ == "__main__":
    main()
