"""The options that both ends have, `loadkit blast` and `loadkit serve`.

A server that blast embeds is given those of the blast.
"""

from __future__ import annotations

import enum
from typing import Annotated

from loadkit.profile.engines import ENGINES, EngineName, Feature, engines_with, one_of
from loadkit.profile.option import Group, option
from loadkit.profile.sockets import SocketOptions

__all__ = ["BothEnds", "EngineName", "Stamps"]


class Stamps(enum.StrEnum):
    """What of ordinary connections the kernel stamps. It costs, so it is asked for."""

    OFF = "off"
    RX = "rx"


class BothEnds(SocketOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How workers of either end move bytes."""

    engine: Annotated[
        EngineName,
        option(
            "how a worker moves bytes; auto: the fastest that is installed and can do what is asked "
            f"({', '.join(ENGINES)})",
            "--engine",
            group=Group.WORKERS,
        ),
    ] = EngineName.AUTO
    edge_triggered: Annotated[
        bool,
        option(
            "watch sockets edge-triggered (EPOLLET) instead of level-triggered; engine "
            + one_of(engines_with(Feature.EDGE_TRIGGERED)),
            "--edge-triggered/--level-triggered",
            group=Group.SOCKETS,
        ),
    ] = False
    pin: Annotated[bool, option("pin each worker to a core", "--pin/--no-pin", group=Group.WORKERS)] = True
    stamps: Annotated[
        Stamps,
        option(
            "rx: let the kernel stamp received bytes, and report how long they stayed unread in the receive buffer",
            "--stamps",
            group=Group.MEASURING,
        ),
    ] = Stamps.OFF
