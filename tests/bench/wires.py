"""Replies that are framed against echoes: pairs of runs with one core for each end, against a bare server in C.

The server sends back what it gets (floor.c), so the message decides what its replies are like: lines, or with their
length in front, or up to a mark. All are as long, and the peer is the same: what differs is where a reply is found to
end, and what it has to say. Asked are 0.95 of the replies per second of an echo, and of uvloop half of native.

python tests/bench/wires.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from markdown import Table
from pairs import compile_floor, figures_of, floor_server, loadkit_blast, ratio_row, ratio_table

SIZE, CONNECTIONS = 64, 50
LEAST_OF_ECHO, LEAST_OF_NATIVE = 0.95, 0.5

_LINE = ("--send", f"{'x' * (SIZE - 1)}\\n", "--expect", "line")
_WIRES: dict[str, tuple[str, ...]] = {
    "line": _LINE,
    "line, starts:": (*_LINE, "--check", "starts:xxxx"),
    "line, contains:": (*_LINE, "--check", r"contains:x\n"),
    "until, 2 bytes": ("--send", f"{'x' * (SIZE - 2)}\\r\\n", "--expect", r"until:\r\n"),
    "len:u16be": ("--send", f"\\x00\\x{SIZE - 2:02x}{'x' * (SIZE - 2)}", "--expect", "len:u16be"),
    "bytes:64": ("--send", "x" * SIZE, "--expect", f"bytes:{SIZE}"),
    "line-code": ("--send", f"250 {'x' * (SIZE - 6)}\\r\\n", "--expect", "line-code"),
}


def _replies_per_s(port: int, engine: str, seconds: float, wire: tuple[str, ...]) -> float:
    fixed = ("-c", str(CONNECTIONS), "-d", f"{seconds:g}s", "--warmup", "200ms", "--engine", engine)
    return figures_of(loadkit_blast(port, *fixed, *wire)).per_s


def _pairs(
    port: int, rounds: int, seconds: float, one: tuple[str, tuple[str, ...]], other: tuple[str, tuple[str, ...]]
):
    """Returns the rates of two kinds of runs (engine, options), in turn, in each round in the other order."""
    found = []
    for number in range(rounds):
        sides = (one, other) if number % 2 else (other, one)
        rates = {side: _replies_per_s(port, side[0], seconds, side[1]) for side in sides}
        found.append((rates[one], rates[other]))
    return found


def main(rounds: int, seconds: float) -> int:
    """Prints the tables; returns 1 if a ratio is not what is asked."""
    echo = ("-s", str(SIZE))
    are_enough = True
    with tempfile.TemporaryDirectory() as folder:
        floor = compile_floor(Path(folder))
        if floor is None:
            print("there is no C compiler")
            return 1
        with floor_server(floor) as server:
            port = server["port"]
            table: Table = ratio_table(
                f"Replies/s of {CONNECTIONS} connections, framed and as an echo", ("framed", "echo")
            )
            for name, wire in _WIRES.items():
                pairs = _pairs(port, rounds, seconds, ("native", wire), ("native", echo))
                are_enough &= ratio_row(table, name, pairs, LEAST_OF_ECHO)
            table = ratio_table("The same, of uvloop and of native", ("uvloop", "native"))
            for name, wire in _WIRES.items():
                pairs = _pairs(port, rounds, seconds, ("uvloop", wire), ("native", wire))
                are_enough &= ratio_row(table, name, pairs, LEAST_OF_NATIVE)
    return 0 if are_enough else 1


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(int(given[0]) if given else 7, float(given[1]) if len(given) > 1 else 1.0))
