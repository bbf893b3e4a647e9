"""Runs benches and writes what they print into docs/performance.md: `python page.py throughput cpu`.

Each bench has its place there, between two comments. The line above its tables says when they were measured, and on
which machine. A bench that skips a part for want of a tool leaves its place as it is.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "performance.md"


def measured_on() -> str:
    """Returns the line that says where and when."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    machine = f"{os.cpu_count()} CPUs ({model[1].strip() if model else platform.machine()})"
    kernel = platform.release().partition("-")[0]
    python = f"CPython {platform.python_version()}, uvloop {version('uvloop')}, loadkit {version('loadkit')}"
    return f"*Measured on {datetime.date.today()}: {machine}, kernel {kernel}, {python}.*"


def updated(text: str, name: str, printed: str, measured: str) -> str:
    """Returns the page with the place of a bench filled; raises ValueError if it has no place there."""
    begin, end = f"<!-- bench {name} -->\n", f"<!-- end of bench {name} -->\n"
    before, found, rest = text.partition(begin)
    _old, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no place for the bench {name}")
    return f"{before}{begin}\n{measured}\n\n{printed.strip()}\n\n{end}{after}"


def main() -> int:
    missed = 0
    for name in sys.argv[1:]:
        with subprocess.Popen([sys.executable, f"{name}.py"], cwd=HERE, stdout=subprocess.PIPE, text=True) as bench:
            assert bench.stdout
            lines = []
            for line in bench.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        printed = "".join(lines)
        missed += bench.returncode != 0
        if printed.strip() and "skipped" not in printed:
            PAGE.write_text(updated(PAGE.read_text(), name, printed, measured_on()))
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
