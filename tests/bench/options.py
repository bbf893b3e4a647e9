"""What --journey and --stamps rx cost: the same load with and without, in alternating pairs, one core each end.

python tests/bench/options.py [ROUNDS] [SECONDS]
"""

from __future__ import annotations

import contextlib
import sys

from pairs import figures_of, loadkit_blast, loadkit_server, ratio_row, ratio_table

CONNECTIONS = 50
LEAST = 0.9
# Of both ends: what blast is told, and what serve is.
COSTS = {"--journey": (("--journey",), ()), "--stamps rx": (("--stamps", "rx"), ("--stamps", "rx"))}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.5
    missed = 0
    of = f"{rounds} pairs of {seconds:g} s"
    caption = f"Replies/s with an option that measures more, and without: {CONNECTIONS} connections, closed loop, {of}"
    table = ratio_table(caption, ("with/s", "without/s"))
    load = ["-c", str(CONNECTIONS), "-d", f"{seconds}s", "--warmup", "500ms"]
    for engine in ("native", "uvloop", "asyncio"):
        for name, (blast, serve) in COSTS.items():
            pairs = []
            with contextlib.ExitStack() as stack:
                plain = stack.enter_context(loadkit_server(engine))
                more = stack.enter_context(loadkit_server(engine, *serve)) if serve else plain
                kinds = {True: (more, blast), False: (plain, ())}
                for index in range(rounds):
                    rates = {}
                    for kind in (True, False) if index % 2 else (False, True):
                        server, options = kinds[kind]
                        record = loadkit_blast(server["port"], *load, "--engine", engine, *options)
                        if kind and not (record["journey"] or record["unread"]):
                            raise RuntimeError(f"{name} measured nothing")
                        rates[kind] = figures_of(record).per_s
                    pairs.append((rates[True], rates[False]))
            missed += not ratio_row(table, f"{engine} {name}", pairs, LEAST)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
