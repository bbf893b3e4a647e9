"""Runs a command beside two busy loops, each of which wants a core for itself.

python tests/beside_busy_loops.py COMMAND...

Exits with the command's status. The loops end with it, and by themselves after LONGEST_S.
"""

from __future__ import annotations

import subprocess
import sys

LOOPS = 2
LONGEST_S = 3600
LOOP = f"import time\nend = time.monotonic() + {LONGEST_S}\nwhile time.monotonic() < end: pass"


def main(command: list[str]) -> int:
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(LOOPS)]
    try:
        return subprocess.run(command, timeout=LONGEST_S, check=False).returncode
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
