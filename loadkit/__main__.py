"""The entry point of the `loadkit` command and of `python -m loadkit`.

Signals come first: until they have handlers, Ctrl-C is a traceback, and in a container, where loadkit is the first
process, the kernel drops signals without a handler (pid_namespaces(7)). So neither this module nor the package imports
anything before.

What is left is Python's own start, in which Ctrl-C is a traceback and which no line of loadkit's can shorten. Of the 23
ms from execve(2) to the handlers (strace, 2-core VM, CPython 3.11, 2026-11-26) the first 10 pass before Python handles
SIGINT: then it just ends the process. In the next 12 Python imports site, and the script that pip writes imports `re`
(8 of the 12; `python -m loadkit` has runpy instead). The last 1 ms is ours: finding and reading two files. A script of
our own, in place of pip's, would save the 8 ms, and not every installer makes those.
"""


def main() -> None:
    """Runs the command line."""
    try:
        _take_signals()
    except KeyboardInterrupt:  # by Python's own handler, which was there until now
        import os

        os._exit(128 + 2)
    import os
    import sys

    from loadkit.errors import LoadkitError
    from loadkit.imports import importing

    try:
        with importing():
            from loadkit.cli import streams

            streams.install()
            from loadkit.cli.app import run
    except LoadkitError as error:
        sys.exit(f"loadkit: {error}")

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


def _prefer_installed_modules() -> None:
    """Puts the folder that `python -m` is called in, which is first on Python's path, behind all others.

    So a file of it that is called as a module of the standard library, such as queue.py, is not taken for that.
    """
    import os
    import sys

    try:
        is_first = sys.path[:1] in ([""], [os.getcwd()])  # noqa: PTH109 - without an import
    except OSError:  # it was deleted
        return
    if is_first:
        sys.path.append(sys.path.pop(0))


if __name__ == "__main__":
    _prefer_installed_modules()
    main()
