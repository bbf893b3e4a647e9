"""`loadkit ping`."""

from __future__ import annotations

import click

from loadkit.cli.environment import Command
from loadkit.cli.options import quantity
from loadkit.cli.serve import DEFAULT_LISTEN
from loadkit.profile.option import Bounds
from loadkit.units import Duration, Size, format_duration, format_size

__all__ = ["ping"]

# It is a check and not a load: a message of this size fits into the socket buffers of both ends.
_MOST_BYTES = 64 * 1024


_EXAMPLES = """\b
Examples:
  loadkit ping                                  loadkit serve on this machine
  loadkit ping 10.0.0.5:7000 --timeout 500ms    as a health check"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="check whether a server echoes: one line and an exit status")
@click.argument(
    "target",
    metavar="[HOST:PORT|unix:PATH]",
    default=DEFAULT_LISTEN,
    envvar=["LOADKIT_PING_TARGET", "LOADKIT_SERVE_LISTEN"],
)
@click.option(
    "--timeout",
    **quantity(Duration, Bounds(1)),
    default="2s",
    show_default=True,
    help="limit of the whole check",
)
@click.option(
    "-s",
    "--size",
    **quantity(Size, Bounds(1, _MOST_BYTES)),
    default="64B",
    show_default=True,
    help="bytes of the message",
)
def ping(target: str, timeout: int, size: int) -> int:
    """Ask an echo server whether it echoes: connect, send a message, compare what comes back.

    HOST:PORT is where `loadkit serve` listens in the same environment (LOADKIT_SERVE_LISTEN), or 127.0.0.1:7000.
    Exit status 1 means that it does not echo.
    """
    from loadkit.endpoint import place_of, reached_at
    from loadkit.plan.target import Target
    from loadkit.printable import printable
    from loadkit.run.ping import ping as send_one
    from loadkit.run.target import resolve

    def reached(where: Target) -> Target:
        address = reached_at(where.addresses[0])
        return where if address == where.addresses[0] else Target(address, (address,), where.port)

    used, round_trip_ns = send_one([reached(one) for one in resolve(target)], size, timeout)
    at = "" if used.host == used.addresses[0] else f" at {used.addresses[0]}"
    place = printable(f"{place_of(used.host, used.port)}{at}")
    click.echo(f"{place} echoed {format_size(size)} in {format_duration(round_trip_ns)}")
    return 0
