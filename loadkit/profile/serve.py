"""The options of a serve end. Each one stands here once; those that blast has too are in both.py."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from loadkit.profile.both import BothEnds
from loadkit.profile.engines import Feature, engines_with, one_of
from loadkit.profile.option import Group, option
from loadkit.units import Count, Duration, Mode
from loadkit.wire.proxy_header import ProxyProtocol

__all__ = ["ProbePeers", "ServeProfile", "embedded_profile"]

# listen(2) takes an int; the kernel caps it at net.core.somaxconn.
_MOST_BACKLOG = 2**31 - 1


class ProbePeers(enum.StrEnum):
    """From which addresses a serve end answers probes with its stamps.

    Stamps say how busy the worker is, to the nanosecond, and cost more than an echo. So by default only loopback
    addresses get them.
    """

    LOOPBACK = "loopback"
    ALL = "all"
    NONE = "none"

    @classmethod
    def of(cls, answered: bool | None) -> ProbePeers:
        """Returns the choice of --probes/--no-probes; None is neither of them."""
        return cls.LOOPBACK if answered is None else cls.ALL if answered else cls.NONE


class ServeProfile(BothEnds, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be asked of a serve end, as it was asked. Defaults are documented decisions."""

    about: str = ""
    workers: Annotated[
        Count | None,
        option(
            "worker processes [auto: one per core]",
            "-w",
            "--workers",
            group=Group.WORKERS,
            metavar="N|auto",
            at_least=1,
        ),
    ] = None
    app: Annotated[
        str | None,
        option(
            "run your own asyncio server instead of the echo, such as shop.server:Orders; engine "
            + one_of(engines_with(Feature.APP)),
            "--app",
            group=Group.WORKERS,
            metavar="MODULE:FACTORY",
        ),
    ] = None
    probes: Annotated[
        bool | None,
        option(
            "answer the probes of `blast --journey` from every address, or from none [from loopback addresses]",
            "--probes/--no-probes",
            group=Group.MEASURING,
        ),
    ] = None
    # 4,096: what net.core.somaxconn allows since Linux 5.4.
    backlog: Annotated[
        Count,
        option(
            "connections waiting for accept",
            "--backlog",
            group=Group.CONNECTIONS,
            metavar="N",
            at_least=1,
            at_most=_MOST_BACKLOG,
        ),
    ] = Count(4096)
    max_connections: Annotated[
        Count | None,
        option(
            "turn away connections beyond this many, over all workers",
            "--max-connections",
            group=Group.CONNECTIONS,
            metavar="N",
            at_least=1,
        ),
    ] = None
    idle_timeout: Annotated[
        Duration | None,
        option(
            "close connections on which no byte has moved, in or out, for this long",
            "--idle-timeout",
            group=Group.CONNECTIONS,
            at_least=1,
        ),
    ] = None
    proxy_protocol: Annotated[
        bool,
        option(
            "require a header of the PROXY protocol (v1 or v2) at the beginning of each connection",
            "--proxy-protocol/--no-proxy-protocol",
            group=Group.CONNECTIONS,
        ),
    ] = False
    # None: what a server's files get is its user's decision, and umask(2) is where it is made.
    socket_mode: Annotated[
        Mode | None,
        option(
            "permissions of the path of a UNIX socket, such as 0660: connecting takes w [0777 less the umask]",
            "--socket-mode",
            group=Group.CONNECTIONS,
            metavar="MODE",
        ),
    ] = None
    # 5 s: longer than any exchange that is under way, shorter than the 10 s after which containers are killed.
    grace: Annotated[
        Duration, option("let open connections finish for this long", "--grace", group=Group.CONNECTIONS, at_least=0)
    ] = Duration.parse("5s")


def embedded_profile(blast: BothEnds) -> ServeProfile:
    """Returns the options of a server that a blast embeds: those that both ends have, as the blast has them."""
    return msgspec.structs.replace(
        ServeProfile(),
        **{name: getattr(blast, name) for name in BothEnds.__struct_fields__},
        proxy_protocol=getattr(blast, "proxy_protocol", ProxyProtocol.OFF) is not ProxyProtocol.OFF,
    )
