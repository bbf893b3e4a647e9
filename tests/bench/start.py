"""CPU time of the starts that a person waits for: the best of ten, against what they may take. `make bench-start`."""

from __future__ import annotations

import os
import subprocess
import sys

# Command -> milliseconds that it may take more than Python itself.
_STARTS = {
    ("-c", "import loadkit"): 10,
    ("-m", "loadkit", "--help"): 120,
    ("-m", "loadkit", "blast", "--help"): 120,
    ("-m", "loadkit", "--version"): 120,
}


def cpu_ms(*arguments: str) -> float:
    """Returns the CPU time of the fastest of ten starts of Python."""
    best = float("inf")
    for _ in range(10):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        best = min(best, 1000 * (used.ru_utime + used.ru_stime))
    return best


def main() -> None:
    """Prints a line per start; exit status 1 if one takes longer than it may."""
    python = cpu_ms("-c", "pass")
    print(f"python -c pass  {python:.1f} ms")
    is_slow = False
    for start, most in _STARTS.items():
        taken = cpu_ms(*start) - python
        is_slow |= taken > most
        print(f"python {' '.join(start)}  {taken:.1f} ms more, at most {most}")
    sys.exit(is_slow)


if __name__ == "__main__":
    main()
