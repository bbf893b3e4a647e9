"""`loadkit ping`."""

from __future__ import annotations

from pathlib import Path

import click

from loadkit.cli.environment import Command
from loadkit.cli.options import quantity
from loadkit.cli.serve import DEFAULT_LISTEN
from loadkit.profile.option import Bounds
from loadkit.units import Duration, Size, format_duration, format_size
from loadkit.wire.expect import Expect
from loadkit.wire.recognise import show
from loadkit.wire.texts import parse_text

__all__ = ["ping"]

# It is a check and not a load: a message of this size fits into the socket buffers of both ends.
_MOST_BYTES = 64 * 1024


def _text(context: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        text = parse_text(value)
        return Path(text.path).read_bytes() if text.path else text.literal()
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}", context, parameter) from None
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def _framing(context: click.Context, parameter: click.Parameter, value: str | None) -> Expect | None:
    try:
        expect = None if value is None else Expect.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None
    return None if expect == "echo" else expect


_EXAMPLES = """\b
Examples:
  loadkit ping                                  loadkit serve on this machine
  loadkit ping 10.0.0.5:7000 --timeout 500ms    as a health check
  loadkit ping 10.0.0.5:6379 --send 'PING\\r\\n' --expect line"""


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
@click.option(
    "--send",
    metavar="TEXT",
    callback=_text,
    help="a message for another service, such as 'PING\\r\\n', @FILE or hex:00",
)
@click.option(
    "--expect",
    metavar="FRAMING",
    callback=_framing,
    help="where its reply ends: line, bytes:N, len:u32be, close … [line]",
)
def ping(target: str, timeout: int, size: int, send: bytes | None, expect: Expect | None) -> int:
    """Ask an echo server whether it echoes: connect, send a message, compare what comes back.

    HOST:PORT is where `loadkit serve` listens in the same environment (LOADKIT_SERVE_LISTEN), or 127.0.0.1:7000.
    Exit status 1 means that it does not echo. With --send or --expect it is any TCP service, and is asked for a reply.
    """
    from loadkit.endpoint import place_of, reached_at
    from loadkit.plan.target import Target
    from loadkit.printable import printable
    from loadkit.run.ping import ping as send_one
    from loadkit.run.target import resolve

    def reached(where: Target) -> Target:
        address = reached_at(where.addresses[0])
        return where if address == where.addresses[0] else Target(address, (address,), where.port)

    if send is not None or expect is not None:
        from loadkit.run.ask import ask

        asked, reply_ns, began = ask(
            [reached(one) for one in resolve(target)], send or b"", expect or Expect("line"), timeout
        )
        click.echo(
            f"{printable(place_of(asked.host, asked.port))} replied `{show(began)}` in {format_duration(reply_ns)}"
        )
        return 0
    used, round_trip_ns = send_one([reached(one) for one in resolve(target)], size, timeout)
    at = "" if used.host == used.addresses[0] else f" at {used.addresses[0]}"
    place = printable(f"{place_of(used.host, used.port)}{at}")
    click.echo(f"{place} echoed {format_size(size)} in {format_duration(round_trip_ns)}")
    return 0
