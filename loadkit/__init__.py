"""loadkit: an instrument for TCP at scale.

`loadkit serve` is an echo server with one event loop a core; `loadkit blast` opens very many connections to it, or to
any TCP echo service, and says how long everything took, where the time went, and whether the number can be trusted.

How a run flows, each arrow a function from one frozen value to the next:

    profile.toml + options --profile.load--> Profile        what was asked
    Profile + Host         --plan.build-->   Plan           everything decided
    Plan                   --plan.split-->   Shard x n      one a worker
    Shard                  --engine-->       Board slot     counters and histogram counts, in shared memory
    Board                  --measure-->      RunSamples     read while it goes on, and at the end
    RunSamples + Plan      --report.build--> RunRecord      the versioned file
    RunRecord              --report-->       text, verdict, SLOs, merged records

Layers, a lower one never imports a higher one:

    cli > run, doctor > engine, report > measure, wire > plan > profile > errors, units, clock, host

The words used everywhere:

    profile     a TOML scenario file             phase    a named part of a run: ramp, warm-up, hold, drain
    plan        a run, decided                   shard    one worker's part of a plan
    worker      one process, one loop, one core  engine   how a worker moves bytes
    message     what we send                     reply    what comes back
    intended    when the plan wanted it sent     sent     when it was
    latency     replied - intended               service  replied - sent
    lateness    sent - intended                  connect  established - intended start of the connect
    first_byte  first reply byte - established   board    the shared table of figures
    record      the versioned file of a run      verdict  valid, suspect or invalid, with reasons
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
