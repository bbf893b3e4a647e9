"""The options of a run. Each one stands here once: its name, type, default, help, flags and bounds.

The command line makes its flags from these fields, a profile file its keys, and `load.py` checks both the same way.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any, get_type_hints

import msgspec

from loadkit.units import ConnectRate, Count, Duration, Pace, Size

__all__ = [
    "MOST_BACKLOG",
    "Close",
    "EngineName",
    "Group",
    "Option",
    "PhaseSpec",
    "ProbePeers",
    "Profile",
    "Stamps",
    "options_of",
]

# A run without --duration that ends by --messages is bounded all the same: nothing runs for ever.
LONGEST_RUN = Duration.parse("24h")
# A message per nanosecond: times have no finer grain.
MOST_HZ = 10**9
# listen(2) takes an int; the kernel caps it at net.core.somaxconn.
MOST_BACKLOG = 2**31 - 1
# tcp(7), TCP_KEEPIDLE: include/net/tcp.h has MAX_TCP_KEEPIDLE.
LONGEST_KEEPALIVE_S = 32767


class EngineName(enum.StrEnum):
    """How bytes are moved. `auto` takes the fastest that is installed: native, uvloop, asyncio."""

    AUTO = "auto"
    NATIVE = "native"
    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"
    FAKE = "fake"


class Close(enum.StrEnum):
    """How a connection ends. RST leaves no TIME_WAIT, so the next run finds its ports free; FIN is the polite way."""

    RST = "rst"
    FIN = "fin"


class Stamps(enum.StrEnum):
    """What of ordinary connections the kernel stamps. It costs, so it is asked for."""

    OFF = "off"
    RX = "rx"


class ProbePeers(enum.StrEnum):
    """Whose probes a serve end answers with its stamps; native/answers.h has the same order.

    They say how busy the worker is, to the nanosecond, and cost more than an echo: elsewhere only if asked for.
    """

    LOOPBACK = "loopback"
    ALL = "all"
    NONE = "none"

    @classmethod
    def of(cls, answered: bool | None) -> ProbePeers:
        """Reads the switch of the command line, which may not be given."""
        return cls.LOOPBACK if answered is None else cls.ALL if answered else cls.NONE


class Group(enum.StrEnum):
    """What an option is about: --help lists them in this order."""

    LOAD = "load"
    CONNECTIONS = "connections"
    SOCKETS = "sockets"
    WORKERS = "workers"
    MEASURING = "measuring"
    OUTPUT = "output"


class Option(msgspec.Struct, frozen=True):
    """What is known of one option beside its type and default."""

    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    at_least: float | None = None
    at_most: float | None = None
    group: Group | None = None
    bare_unit: str = ""  # what a number without a unit is counted in; "": it needs one


def _option(help: str, *flags: str, **more: Any) -> Any:
    return msgspec.Meta(extra={"option": Option(help, flags, **more)})


class PhaseSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[phases]]` table of a profile. A key left out takes the profile's own value."""

    name: str
    duration: Annotated[Duration, _option("how long the phase lasts", at_least=10**6)]
    rate: Annotated[
        Pace | None, _option("messages per second in all; `1k:10k` is a linear ramp", at_least=0, at_most=MOST_HZ)
    ] = None
    connections: Annotated[Count | None, _option("connections open at the end of the phase", at_least=1)] = None
    measured: bool = True


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be asked of a blast run, as it was asked. Defaults are documented decisions."""

    about: str = ""
    # 1,000 is more than a page's worth and fits every machine's fd limit once the soft one is raised (wrk takes 10,
    # k6 one: neither shows what a server does with many).
    connections: Annotated[
        Count,
        _option(
            "connections to open and hold",
            "-c",
            "--connections",
            group=Group.LOAD,
            metavar="N",
            at_least=1,
            at_most=10**9,
        ),
    ] = Count(1000)
    # 10 s as wrk and hey have it: ten intervals, and enough replies for a p99.9.
    duration: Annotated[
        Duration | None,
        _option(
            "how long to measure, after the ramp and the warm-up; a number alone is seconds [10s]",
            "-d",
            "--duration",
            group=Group.LOAD,
            at_least=10**6,
            bare_unit="s",
        ),
    ] = None
    messages: Annotated[
        Count | None,
        _option(
            "stop after this many measured messages", "-n", "--messages", group=Group.LOAD, metavar="N", at_least=1
        ),
    ] = None
    rate: Annotated[
        Pace | None,
        _option(
            "messages per second over all connections (open loop); without it each reply is followed by the next "
            "message at once (closed loop)",
            "-R",
            "--rate",
            group=Group.LOAD,
            at_least=0,
            at_most=MOST_HZ,
        ),
    ] = None
    workers: Annotated[
        Count | None,
        _option(
            "worker processes of the blast end [auto: one per core, half as many if the target is on this machine]",
            "-w",
            "--workers",
            group=Group.WORKERS,
            metavar="N|auto",
            at_least=1,
        ),
    ] = None
    # 64 B: small enough that the cost of a message, not of its bytes, is what is measured.
    size: Annotated[
        Size,
        _option(
            "bytes of a message: 1k is 1,000 B, 1KiB is 1,024 B",
            "-s",
            "--size",
            group=Group.LOAD,
            at_least=1,
            at_most=2**30,
        ),
    ] = Size(64)
    depth: Annotated[
        Count,
        _option(
            "messages outstanding on a connection at most",
            "-p",
            "--depth",
            group=Group.LOAD,
            metavar="N",
            at_least=1,
            at_most=65536,
        ),
    ] = Count(1)
    connect_rate: Annotated[
        ConnectRate | None,
        _option(
            "connections opened per second by all workers, after the first one; max: a closed loop of connects, each "
            "begun as soon as --opening has room for it [10k; for more than 50k connections up to 20k]",
            "--connect-rate",
            group=Group.CONNECTIONS,
            metavar="RATE|max",
            at_least=0.001,
            at_most=MOST_HZ,
        ),
    ] = None
    # 4,096: what a listener's backlog holds, and 20,000/s at a round trip of 100 ms.
    opening: Annotated[
        Count,
        _option(
            "connections that may wait for their first reply while they are opened; further connects are delayed, and "
            "the delay counts in their connect time",
            "--opening",
            group=Group.CONNECTIONS,
            metavar="N",
            at_least=1,
        ),
    ] = Count(4096)
    lifetime: Annotated[
        Duration | None,
        _option(
            "churn: close and reopen each connection after this time; 0 means after one exchange",
            "--lifetime",
            group=Group.CONNECTIONS,
            at_least=0,
        ),
    ] = None
    source: Annotated[
        tuple[str, ...],
        _option(
            "bind connections to the addresses of this network (repeatable)",
            "--source",
            group=Group.CONNECTIONS,
            metavar="CIDR",
        ),
    ] = ()
    # 10 s: longer than any stall worth measuring, shorter than TCP's own patience (minutes).
    timeout: Annotated[
        Duration,
        _option(
            "a message not replied to within this time has failed", "--timeout", group=Group.CONNECTIONS, at_least=10**6
        ),
    ] = Duration.parse("10s")
    # 5 s lets two SYN retransmissions through (1 s and 3 s after the first).
    connect_timeout: Annotated[
        Duration,
        _option(
            "a connection not established within this time has failed",
            "--connect-timeout",
            group=Group.CONNECTIONS,
            at_least=10**6,
        ),
    ] = Duration.parse("5s")
    warmup: Annotated[
        Duration | None,
        _option(
            "load before the measured part; a number alone is seconds [2s; 0s with -n]",
            "--warmup",
            group=Group.LOAD,
            at_least=0,
            bare_unit="s",
        ),
    ] = None
    keepalive: Annotated[
        Duration | None,
        _option(
            "have the kernel probe connections that were idle for this long (SO_KEEPALIVE)",
            "--keepalive",
            group=Group.SOCKETS,
            at_least=10**9,
            at_most=LONGEST_KEEPALIVE_S * 10**9,
        ),
    ] = None
    close: Annotated[
        Close, _option("how connections are closed: rst leaves no TIME_WAIT", "--close", group=Group.CONNECTIONS)
    ] = Close.RST
    check: Annotated[
        bool, _option("compare the content of every reply", "--check/--no-check", group=Group.MEASURING)
    ] = True
    engine: Annotated[EngineName, _option("how a worker moves bytes", "--engine", group=Group.WORKERS)] = (
        EngineName.AUTO
    )
    edge_triggered: Annotated[
        bool,
        _option(
            "watch sockets edge-triggered (EPOLLET) instead of level-triggered; engine native",
            "--edge-triggered/--level-triggered",
            group=Group.SOCKETS,
        ),
    ] = False
    pin: Annotated[bool, _option("pin each worker to a core", "--pin/--no-pin", group=Group.WORKERS)] = True
    journey: Annotated[
        bool,
        _option(
            "measure where the time goes on the way of a message: a few more connections, stamped by the kernel",
            "--journey/--no-journey",
            group=Group.MEASURING,
        ),
    ] = False
    stamps: Annotated[
        Stamps,
        _option(
            "rx: have the kernel stamp what comes in, and tell how long it lay in the receive buffer until it was read",
            "--stamps",
            group=Group.MEASURING,
        ),
    ] = Stamps.OFF
    slo: Annotated[
        tuple[str, ...],
        _option(
            "an objective such as 'latency.p99<5ms' or 'errors==0'; what never came back counts as late (repeatable)",
            "--slo",
            group=Group.MEASURING,
            metavar="EXPR",
        ),
    ] = ()
    phases: tuple[PhaseSpec, ...] = ()


def options_of(struct: type[msgspec.Struct]) -> Mapping[str, Option]:
    """Returns the option of each field of a Profile or PhaseSpec that has one, in their order."""
    found = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        for meta in getattr(hint, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra and "option" in meta.extra:
                found[name] = meta.extra["option"]
    return found
