"""The options of a blast run. Each one stands here once: its name, type, default, help, flags and bounds.

Those that serve has too are in both.py.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from loadkit.chance import MOST_SEED
from loadkit.distribution import Durations, Shape, Sizes
from loadkit.profile.both import BothEnds
from loadkit.profile.option import Group, option
from loadkit.profile.setup import First, FirstCheck, FirstExpect
from loadkit.profile.tags import Tag
from loadkit.units import ConnectRate, Count, Duration, Pace
from loadkit.wire.check import Check
from loadkit.wire.expect import Expect
from loadkit.wire.proxy_header import ProxyProtocol
from loadkit.wire.render import Order

__all__ = ["LONGEST_RUN", "Arrivals", "Close", "PhaseSpec", "Profile"]

# The most that a run takes which --messages ends, without a --duration: no run goes on for ever.
LONGEST_RUN = Duration.parse("24h")
# The longest of a distribution without an end is 28 times its mean: of pauses of a day on average, 28 days.
LONGEST_PAUSE = Duration.parse("720h")
# A message per nanosecond: times are whole nanoseconds.
MOST_HZ = 10**9
# tcp(7), TCP_KEEPIDLE: include/net/tcp.h has MAX_TCP_KEEPIDLE.
LONGEST_KEEPALIVE_S = 32767


class Close(enum.StrEnum):
    """How a connection ends. RST leaves no TIME_WAIT, so the next run finds its ports free; FIN is the polite way."""

    RST = "rst"
    FIN = "fin"


class Arrivals(enum.StrEnum):
    """When messages of a rate are due: at even intervals, or at random as users who know nothing of each other act.

    The intervals of exp have the exponential distribution, so that arrivals are a Poisson process.
    """

    EVEN = "even"
    EXP = "exp"


class PhaseSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[phases]]` table of a profile. A key left out takes the profile's own value."""

    name: str
    duration: Annotated[
        Duration, option("how long the phase lasts; a number alone is seconds", at_least=10**6, bare_unit="s")
    ]
    rate: Annotated[
        Pace | None, option("messages per second in all; `1k:10k` is a linear ramp", at_least=0, at_most=MOST_HZ)
    ] = None
    connections: Annotated[Count | None, option("connections open at the end of the phase", at_least=1)] = None
    measured: bool = True


class Profile(BothEnds, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be asked of a blast run, as it was asked. Defaults are documented decisions."""

    about: str = ""
    # 1,000 fit the hard limit of files of every usual machine, and show what a server does with many (wrk's default is
    # 10, k6's is 1).
    connections: Annotated[
        Count,
        option(
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
        option(
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
        option("stop after this many measured messages", "-n", "--messages", group=Group.LOAD, metavar="N", at_least=1),
    ] = None
    rate: Annotated[
        Pace | None,
        option(
            "messages per second over all connections (open loop); without it, each connection sends its next message "
            "when a reply has come (closed loop)",
            "-R",
            "--rate",
            group=Group.LOAD,
            at_least=0,
            at_most=MOST_HZ,
        ),
    ] = None
    # Even, as wrk2 and vegeta have it: what a run shows then is the target's doing, and two runs are alike.
    arrivals: Annotated[
        Arrivals,
        option(
            "when messages of --rate are due; even: at equal intervals; exp: at random ones with the exponential "
            "distribution (a Poisson process), as independent users send them",
            "--arrivals",
            group=Group.LOAD,
        ),
    ] = Arrivals.EVEN
    think: Annotated[
        Durations | None,
        option(
            "a pause between a reply and the next message of its connection (closed loop): 5ms, uniform:1ms-9ms, "
            "normal:5ms,1ms (mean and deviation), exp:5ms (mean) or list:1ms:9,1s:1 (values and weights)",
            "--think",
            group=Group.LOAD,
            metavar="DISTRIBUTION",
            at_least=0,
            at_most=LONGEST_PAUSE,
        ),
    ] = None
    seed: Annotated[
        Count | None,
        option(
            "what random values follow from: the same seed repeats them [a new one for each run; the report has it]",
            "--seed",
            group=Group.LOAD,
            metavar="N",
            at_least=0,
            at_most=MOST_SEED,
        ),
    ] = None
    workers: Annotated[
        Count | None,
        option(
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
        Sizes,
        option(
            "bytes of a message: 1k is 1,000 B, 1KiB is 1,024 B; or sizes that differ: uniform:64B-4KiB, "
            "normal:1KiB,100B (mean and deviation), exp:1KiB (mean), list:1KiB:90,1MiB:10 (values and weights)",
            "-s",
            "--size",
            group=Group.LOAD,
            metavar="SIZE",
            at_least=1,
            at_most=2**30,
        ),
    ] = Sizes(Shape.CONSTANT, (64,))
    send: Annotated[
        tuple[str, ...],
        option(
            "what to send: a text with \\r \\n \\t \\0 \\xHH and fields such as {n} or {rand:1-100}, @FILE, hex:... or "
            "base64:...; a connection sends several in turn (repeatable); see docs/protocols.md",
            "--send",
            group=Group.LOAD,
            metavar="TEXT",
            between="",
        ),
    ] = ()
    order: Annotated[
        Order,
        option("how a connection goes through several --send: in turn, or at random", "--order", group=Group.LOAD),
    ] = Order.TURN
    expect: Annotated[
        Expect,
        option(
            "where a reply ends: echo (the message comes back), line, line-code, bytes:N, until:'TEXT', len:FIELD, "
            "close, idle:5ms; see docs/protocols.md",
            "--expect",
            group=Group.LOAD,
            metavar="FRAMING",
        ),
    ] = Expect("echo")
    depth: Annotated[
        Count,
        option(
            "most messages in flight per connection",
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
        option(
            "connections opened per second by all workers, after the first one; max: as fast as --opening allows (a "
            "closed loop of connects) [10k; for more than 50k connections up to 20k]",
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
        option(
            "connections that may wait for their first reply during the ramp; further connects are delayed, and their "
            "connect time includes the delay",
            "--opening",
            group=Group.CONNECTIONS,
            metavar="N",
            at_least=1,
        ),
    ] = Count(4096)
    lifetime: Annotated[
        Duration | None,
        option(
            "churn: close and reopen each connection after this time; 0 means after one exchange",
            "--lifetime",
            group=Group.CONNECTIONS,
            at_least=0,
        ),
    ] = None
    source: Annotated[
        tuple[str, ...],
        option(
            "source addresses: bind connections to the addresses of this network (repeatable)",
            "--source",
            group=Group.CONNECTIONS,
            metavar="CIDR",
        ),
    ] = ()
    # 10 s: longer than any stall worth measuring, shorter than TCP's own patience (minutes).
    timeout: Annotated[
        Duration,
        option(
            "a message not replied to within this time has failed", "--timeout", group=Group.CONNECTIONS, at_least=10**6
        ),
    ] = Duration.parse("10s")
    # 5 s lets two SYN retransmissions through (1 s and 3 s after the first).
    connect_timeout: Annotated[
        Duration,
        option(
            "a connection not established within this time has failed; what is said first (--first) has as long again",
            "--connect-timeout",
            group=Group.CONNECTIONS,
            at_least=10**6,
        ),
    ] = Duration.parse("5s")
    warmup: Annotated[
        Duration | None,
        option(
            "load before the measured part; a number alone is seconds [2s; 0s with -n]",
            "--warmup",
            group=Group.LOAD,
            at_least=0,
            bare_unit="s",
        ),
    ] = None
    proxy_protocol: Annotated[
        ProxyProtocol,
        option(
            "begin each connection with a header of the PROXY protocol that names its own addresses, as a proxy does",
            "--proxy-protocol",
            group=Group.CONNECTIONS,
        ),
    ] = ProxyProtocol.OFF
    keepalive: Annotated[
        Duration | None,
        option(
            "have the kernel probe connections that were idle for this long (SO_KEEPALIVE)",
            "--keepalive",
            group=Group.SOCKETS,
            at_least=10**9,
            at_most=LONGEST_KEEPALIVE_S * 10**9,
        ),
    ] = None
    close: Annotated[
        Close, option("how connections are closed: rst leaves no TIME_WAIT", "--close", group=Group.CONNECTIONS)
    ] = Close.RST
    check: Annotated[
        Check | None,
        option(
            "what a reply has to say: exact (the message again), starts:TEXT, contains:TEXT, same (as the first one), "
            "none [exact with --expect echo, else none]",
            "--check/--no-check",
            group=Group.MEASURING,
            metavar="CHECK",
        ),
    ] = None
    journey: Annotated[
        bool,
        option(
            "measure where the time of a message goes, with a few extra connections stamped by the kernel",
            "--journey/--no-journey",
            group=Group.MEASURING,
        ),
    ] = False
    slo: Annotated[
        tuple[str, ...],
        option(
            "an objective such as 'latency.p99<5ms' or 'errors==0'; what never came back counts as late (repeatable)",
            "--slo",
            group=Group.MEASURING,
            metavar="EXPR",
        ),
    ] = ()
    abort_on: Annotated[
        tuple[str, ...],
        option(
            "end the run early, with exit status 3: 'error_ratio>1%' is judged on all so far, "
            "'latency.p99>1s for 5s' on each of the last seconds; unanswered is no condition, for it is counted when "
            "the run ends (repeatable)",
            "--abort-on",
            group=Group.MEASURING,
            metavar="CONDITION",
            between=" (?!for )(?<! for )",
        ),
    ] = ()
    tag: Annotated[
        tuple[Tag, ...],
        option(
            "a note for the record, such as build=4f2a91c; reports show it too (repeatable)",
            "--tag",
            group=Group.OUTPUT,
            metavar="KEY=VALUE",
        ),
    ] = ()
    first: Annotated[
        tuple[First, ...],
        option(
            r"say this on each connection before its first message, such as 'AUTH x\r\n', or @FILE; '' waits for a "
            "greeting; no record has it (repeatable)",
            "--first",
            group=Group.CONNECTIONS,
            metavar="TEXT",
            between="\n",
            is_secret=True,
        ),
    ] = ()
    first_expect: Annotated[
        tuple[FirstExpect, ...],
        option(
            "where the reply to each --first ends: line, bytes:N, until:'TEXT', len:FIELD, or none if nothing is "
            "replied; without it each is a line (repeatable)",
            "--first-expect",
            group=Group.CONNECTIONS,
            metavar="FRAMING",
        ),
    ] = ()
    first_check: Annotated[
        tuple[FirstCheck, ...],
        option(
            "what the reply to each --first has to say: starts:TEXT, contains:TEXT, same, or none for anything "
            "(repeatable)",
            "--first-check",
            group=Group.CONNECTIONS,
            metavar="CHECK",
            between="\n",
        ),
    ] = ()
    phases: tuple[PhaseSpec, ...] = ()
