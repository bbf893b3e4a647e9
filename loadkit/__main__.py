"""The entry point of the `loadkit` command and of `python -m loadkit`.

Worker processes import this module again (multiprocessing does so with whatever was run), so it imports nothing.
"""


def main() -> None:
    """Runs the command line."""
    import os
    import signal
    import sys

    # A run has its own way of ending (run/signals.py). What is before and after it, and other commands, end like this:
    # without a handler the kernel drops the signal where we are the first process, as in a container
    # (pid_namespaces(7)). So it comes first; what is left is the start of Python itself.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    from loadkit.cli import streams

    streams.install()
    from loadkit.cli.app import run

    # A worker is one thread. numpy's OpenBLAS starts one more for each core of every process that imports it, and where
    # a control group's pids.max does not let it, says so in lines of its own and raises SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run()


if __name__ == "__main__":
    main()
