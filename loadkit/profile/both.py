"""The options that both ends have, `loadkit blast` and `loadkit serve`.

A server that blast embeds is given those of the blast.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated

from loadkit.profile.engines import ENGINES, EngineName, Feature, engines_with, one_of
from loadkit.profile.option import Group, option
from loadkit.profile.sockets import SocketOptions
from loadkit.units import Duration

__all__ = ["BothEnds", "Place", "Stamps"]

# A name has at most 253 characters (RFC 1035).
_MOST_CHARACTERS = 300
_HIGHEST_PORT = 65535
# An hour: the longest scrape interval in use is minutes.
_LONGEST_LINGER_NS = 3600 * 10**9


class Stamps(enum.StrEnum):
    """What the kernel stamps on ordinary connections. It sets a socket option on each, so it is off by default."""

    OFF = "off"
    RX = "rx"


class Place(str):
    """Where to listen: `9464`, `0.0.0.0:9464`, `[::1]:9464`. The host is checked when it is resolved."""

    expected = "[HOST:]PORT such as 9464 or 0.0.0.0:9464"

    @classmethod
    def parse(cls, value: object) -> Place:
        """Reads a place from text, or from the number of a port. Raises ValueError saying what was expected."""
        if isinstance(value, bool) or not isinstance(value, int | str) or not 0 < len(str(value)) <= _MOST_CHARACTERS:
            raise ValueError(f"expected {cls.expected}, got {str(value)[:80]!r}")
        port = str(value).rpartition(":")[2].lstrip("0")
        if re.fullmatch(r"[0-9]+", port) and int(port) > _HIGHEST_PORT:
            raise ValueError(f"port {port} of {str(value)!r} is not between 0 and {_HIGHEST_PORT}")
        return cls(value)


class BothEnds(SocketOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How workers of either end move bytes, and who may watch them."""

    engine: Annotated[
        EngineName,
        option(
            "how a worker moves bytes; auto: the fastest that is installed and can do what is requested "
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
    metrics: Annotated[
        Place | None,
        option(
            "serve metrics to Prometheus at this place while it runs, on loopback unless a host is given; needs the "
            "extra `metrics`",
            "--metrics",
            group=Group.OUTPUT,
            metavar="[HOST:]PORT",
        ),
    ] = None
    # None: a command ends when its run is over. Only its user knows the interval of the scrapes.
    metrics_linger: Annotated[
        Duration | None,
        option(
            "go on serving metrics for so long after the end, so that a last scrape sees the totals [0s]",
            "--metrics-linger",
            group=Group.OUTPUT,
            at_least=0,
            at_most=_LONGEST_LINGER_NS,
            bare_unit="s",
        ),
    ] = None
