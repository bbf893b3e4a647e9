"""loadkit: an instrument for TCP at scale.

`loadkit serve` is an echo server with one event loop per core; `loadkit blast` opens very many connections to it, or to
any TCP service, and says how long everything took, where the time went, and whether the number can be trusted.

How a run flows, each arrow a function from one frozen value to the next:

    profile.toml + options --profile.read--> Profile        what was asked
    Profile + Host         --plan.build-->   Plan           a load, and its placements: everything decided
    Plan                   --plan.split-->   Shard x n      one per worker
    Shard                  --engine-->       Board slot     counters and histogram counts, in shared memory
    Board                  --run.local-->    Look           what the crew shows at one tick
    Look                   --run.course-->   Words          what the crew is told next
    Board                  --measure-->      RunSamples     read while it goes on, and at the end
    RunSamples + Plan      --report.build--> RunRecord      the versioned file
    RunRecord              --report-->       text, verdict, SLOs, merged records

Layers, a lower one never imports a higher one:

    cli, sync > library > run, doctor > engine, report > measure > plan > profile > wire > errors, units, host

As a library: `await loadkit.blast(...)` and `async with loadkit.serve(...)`, or the same of `loadkit.sync` without an
event loop. The names below are imported when they are asked for, so that `import loadkit` costs nothing.

The words used everywhere:

    profile     a TOML scenario file             phase    a named part of a run: ramp, warm-up, hold, drain
    load        what is asked of the target      placement  one machine's share of it: workers, cores, routes, engine
    plan        a load and its placements        shard    one worker's part of a plan
    worker      one process, one loop, one core  engine   how a worker moves bytes
    crew        the workers of a run             look     what they show at one tick
    course      the rules that decide, from a look, what is said to the crew next
    message     what we send                     reply    what comes back
    intended    when the plan wanted it sent     taken    when the worker came to it, or could have
    sent        when it was                      replied  when its reply was read
    lateness    taken - intended: ours           held     sent - taken: waiting for room on a connection
    service     replied - sent                   latency  replied - intended, the sum of the three
    first_byte  first reply byte - established   connect  established - intended start of the connect
    window      the measured stretch             board    the shared table of figures
    standstill  a wait or turn of a worker that took more than 10 ms longer than asked
    record      the versioned file of a run      verdict  valid, suspect or invalid, with reasons
    finding     what the target, the network or the machine did; it never changes the verdict
    party       where a cause lies: loadkit, target, network, machine or request
"""

from __future__ import annotations

# Not the one of typing, which takes 2 ms to import: the signals that come meanwhile have no handler yet (__main__.py).
# And typing is one more module that `python -m loadkit` may find in the folder it is called in.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from loadkit import sync
    from loadkit.errors import (
        AppError,
        Interrupted,
        LoadkitError,
        OptionError,
        OutputError,
        PreflightError,
        ProfileError,
        RecordError,
        TargetError,
        UnreachableError,
        WorkerError,
    )
    from loadkit.library.blast import blast
    from loadkit.library.gate import check
    from loadkit.library.server import Server, serve
    from loadkit.report.as_text import as_text
    from loadkit.report.reading import load
    from loadkit.report.record import RunRecord
    from loadkit.report.serve import ServeRecord
    from loadkit.report.writing import encode
    from loadkit.version import __version__

__all__ = [
    "AppError",
    "Interrupted",
    "LoadkitError",
    "OptionError",
    "OutputError",
    "PreflightError",
    "ProfileError",
    "RecordError",
    "RunRecord",
    "ServeRecord",
    "Server",
    "TargetError",
    "UnreachableError",
    "WorkerError",
    "__version__",
    "as_text",
    "blast",
    "check",
    "encode",
    "load",
    "serve",
    "sync",
]

# Name -> the module it stands in; every other one of __all__ is an error.
_HOMES = {
    "RunRecord": "loadkit.report.record",
    "ServeRecord": "loadkit.report.serve",
    "Server": "loadkit.library.server",
    "as_text": "loadkit.report.as_text",
    "blast": "loadkit.library.blast",
    "check": "loadkit.library.gate",
    "encode": "loadkit.report.writing",
    "load": "loadkit.report.reading",
    "serve": "loadkit.library.server",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is asked for (PEP 562)."""
    import importlib

    if name == "sync":
        return importlib.import_module("loadkit.sync")
    if name == "__version__":
        return importlib.import_module("loadkit.version").__version__
    if name not in __all__:
        raise AttributeError(f"module 'loadkit' has no attribute {name!r}")
    if name not in _HOMES:
        return getattr(importlib.import_module("loadkit.errors"), name)
    from loadkit.imports import importing
    from loadkit.limits import require_memory

    if name in ("blast", "serve"):
        require_memory()
    with importing():
        value: object = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """Returns the public names, imported yet or not."""
    return sorted({*globals(), *__all__})
