"""The library without an event loop: `loadkit.blast` and `loadkit.serve` as plain calls."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Unpack

    from loadkit.library.blast import Target
    from loadkit.library.keywords import BlastOptions, ServeOptions
    from loadkit.library.server import Server
    from loadkit.report.record import RunRecord

__all__ = ["blast", "serve"]


def blast(target: Target = None, *, profile: str | None = None, **options: Unpack[BlastOptions]) -> RunRecord:
    """Runs what `await loadkit.blast(...)` does, and blocks until it is over; the same arguments, record and errors.

    In the main thread the first signal that would end the program (SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2) ends the
    run gently, the second at once. Once the processes are gone it goes to the program's own handler, for SIGINT by
    default a KeyboardInterrupt. If that returns, so does this, or it raises Interrupted where there is no record yet.
    In a running event loop, await `loadkit.blast`: this would block the loop.
    """
    from loadkit.imports import importing
    from loadkit.limits import require_memory

    require_memory()
    with importing():
        from loadkit.library.blast import blast_blocking

    return blast_blocking(target, profile, options)


def serve(listen: str | int = "127.0.0.1:0", **options: Unpack[ServeOptions]) -> AbstractContextManager[Server]:
    """Serves while the `with` block lasts; the same arguments, Server and errors as `loadkit.serve`."""
    from loadkit.imports import importing
    from loadkit.limits import require_memory

    require_memory()
    with importing():
        from loadkit.library.server import serve_blocking

    return serve_blocking(listen, options)
