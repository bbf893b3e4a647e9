"""The entry point of the `loadkit` command and of `python -m loadkit`.

Signals come first: until they have handlers, a Ctrl-C is a traceback, and in a container, where we are the first
process, the kernel drops what has none (pid_namespaces(7)). So neither this module nor the package imports anything
before. What is left is the start of Python itself.
"""


def main() -> None:
    """Runs the command line."""
    _take_signals()
    import os

    from loadkit.cli import streams

    streams.install()
    from loadkit.cli.app import run

    # A worker is one thread. numpy's OpenBLAS starts one more for each core of every process that imports it, and where
    # a control group's pids.max does not let it, says so in lines of its own and raises SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run()


def _take_signals() -> None:
    """Has a signal end the process at once with 128 + n. A run has its own way of ending: run/signals.py.

    It is no exception: those are lost where Python cannot raise them, as in what imports leave to be cleaned up, and
    the signal with them. A signal that is ignored stays so; one that the caller has blocked is let through.
    """
    import _signal  # type: ignore[import-not-found]  # what `signal` is made of, without enum: that takes 4 ms
    import os

    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda number, frame: os._exit(128 + number))
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


if __name__ == "__main__":
    main()
