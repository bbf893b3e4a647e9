"""How many instructions in user mode a reply takes at the blast end, in turns of a worker: counted, not timed.

Callgrind counts a run of few messages and one of more; the difference is what a reply takes. Needs valgrind, and a
machine with little else to do: a worker that finds fewer replies per wake-up takes more instructions for each.

python tests/bench/instructions.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pairs import HERE, loadkit_server

FEW, MANY = 5_000, 15_000
CASES = {
    "closed loop, 50 connections": ["connections=50"],
    "closed loop, -p 16": ["connections=50", "depth=16"],
    "churn, 50 at a time": ["connections=50", "lifetime=0"],
    # 64 bytes each, as above, but for the lines, which have 59 to 64.
    "a pool of one size": ["connections=50", "send={hex:63}\\n"],
    "a pool of lines": ["connections=50", "send={hex:56} {rand:1-999999}\\n"],
    "one fresh field": ["connections=50", "send={n:10} {hex:52}\\n"],
}


def instructions(port: int, messages: int, options: list[str]) -> int:
    """Returns how many the turns of a whole run take."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=blast_turn"]
        command += [sys.executable, str(HERE / "worker.py"), str(port), str(messages), *options]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        totals = re.search(r"^totals: (\d+)", out.read_text(), re.MULTILINE)
    if not totals or int(totals[1]) < messages:
        raise RuntimeError("callgrind saw no turn of the worker: was the compiled engine built without its symbols?")
    return int(totals[1])


def main() -> int:
    if not shutil.which("valgrind"):
        print("valgrind is missing: nothing was counted", file=sys.stderr)
        return 1
    print(f"{'instructions per reply':<30}{'':>8}")
    with loadkit_server("native") as server:
        for name, options in CASES.items():
            few, many = (instructions(server["port"], messages, options) for messages in (FEW, MANY))
            print(f"{name:<30}{(many - few) / (MANY - FEW):>8.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
