"""The options of the kernel's sockets, which both ends have.

A new one is a row here, and one in measure/settings.py with the kernel's name for it. None keeps what the kernel, or
the engine, has by default.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.profile.option import Group, option
from loadkit.units import Count, Size

__all__ = ["SocketOptions"]


class SocketOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the kernel is asked to treat the connections of an end."""

    # 1 GiB less a byte: the kernel doubles it (socket(7)), into an int.
    sndbuf: Annotated[
        Size | None,
        option(
            "bytes of each connection's send buffer (SO_SNDBUF) [the kernel tunes it]",
            "--sndbuf",
            group=Group.SOCKETS,
            at_least=1,
            at_most=2**30 - 1,
        ),
    ] = None
    rcvbuf: Annotated[
        Size | None,
        option(
            "bytes of each connection's receive buffer (SO_RCVBUF) [the kernel tunes it]",
            "--rcvbuf",
            group=Group.SOCKETS,
            at_least=1,
            at_most=2**30 - 1,
        ),
    ] = None
    congestion: Annotated[
        str | None,
        option(
            "TCP's congestion control, such as cubic, reno or bbr [net.ipv4.tcp_congestion_control]",
            "--congestion",
            group=Group.SOCKETS,
            metavar="NAME",
        ),
    ] = None
    nodelay: Annotated[
        bool | None,
        option(
            "switch Nagle's algorithm off (TCP_NODELAY) on every connection, or on [off if a message could wait]",
            "--nodelay/--no-nodelay",
            group=Group.SOCKETS,
        ),
    ] = None
    tos: Annotated[
        Count | None,
        option(
            "type of service of IP packets, of IPv6 the traffic class: a DSCP times 4, such as 184 for EF; TCP keeps "
            "the lower two bits for itself [0]",
            "--tos",
            group=Group.SOCKETS,
            metavar="N",
            at_least=0,
            at_most=255,
        ),
    ] = None
