"""`loadkit doctor`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import click

from loadkit.cli.environment import Command
from loadkit.cli.streams import width_of
from loadkit.library.files import check_names, check_writable, write_whole
from loadkit.limits import TO_READ_BYTES, require_memory
from loadkit.profile.option import Bounds
from loadkit.units import Count, Rate

if TYPE_CHECKING:
    from loadkit.doctor.demand import Demand
    from loadkit.plan.target import Target

__all__ = ["doctor"]

_Quantity = TypeVar("_Quantity", Count, Rate)

# A thousand machines full. Of more it would take minutes to say that they do not fit.
_MOST = 1_000_000_000

_EXAMPLES = """\b
Examples:
  loadkit doctor -c 1m                          both ends on this machine
  loadkit doctor -c 100k 10.0.0.5:7000 --source 10.0.1.0/28
  loadkit doctor -c 1m --serve --fix-script fix.sh"""


@click.command(
    cls=Command,
    epilog=_EXAMPLES,
    short_help="check whether this machine can hold that many connections, and how to fix it",
)
@click.argument("target", metavar="[HOST:PORT|unix:PATH]", required=False, envvar="LOADKIT_DOCTOR_TARGET")
@click.option("-c", "--connections", metavar="N", default="10k", show_default=True, help="connections to check for")
@click.option("--source", multiple=True, metavar="CIDR", help="source addresses of the connections (repeatable)")
@click.option(
    "--serve", is_flag=True, help="only the serve end is here: N connections from elsewhere to `loadkit serve`"
)
@click.option(
    "--churn", metavar="RATE", help="connections closed by FIN per second: whether TIME_WAIT leaves enough ports"
)
@click.option(
    "--json",
    "as_object",
    is_flag=True,
    envvar="LOADKIT_DOCTOR_JSON",
    allow_from_autoenv=False,
    help="print the findings as JSON",
)
@click.option("--fix-script", metavar="FILE", help="write the sysctl lines as a shell script; it applies none of them")
def doctor(
    target: str | None,
    connections: str,
    source: tuple[str, ...],
    serve: bool,
    churn: str | None,
    as_object: bool,
    fix_script: str | None,
) -> int:
    """Say whether this machine can hold N connections, and print the line that fixes each thing that is missing.

    Without HOST:PORT both ends are here, as `loadkit blast` has them. Exit status 1 means that it cannot.
    """
    require_memory(TO_READ_BYTES)
    from loadkit.doctor.as_json import as_json
    from loadkit.doctor.as_script import as_script
    from loadkit.doctor.as_text import as_text
    from loadkit.doctor.check import examine
    from loadkit.doctor.finding import can_work
    from loadkit.doctor.nic import ELSEWHERE, find_nic
    from loadkit.errors import OptionError
    from loadkit.run.target import resolve

    count = _parse("--connections", Count, connections, Bounds(1, _MOST))
    churn_hz = _parse("--churn", Rate, churn) if churn is not None else None
    if churn is not None and not churn_hz:
        raise OptionError("--churn: a rate of 0 closes no connection; leave it out")
    if serve and (target or source):
        what = "the target" if target else "--source"
        raise OptionError(f"--serve: the connections come from elsewhere; leave {what} out")
    if fix_script is not None:
        check_names([("--fix-script", fix_script)])
        check_writable(fix_script)
    where = resolve(target, source)[0] if target else None
    if where and where.is_unix and churn is not None:
        raise OptionError(f"--churn: {where.host} is a UNIX socket, which leaves no TIME_WAIT; leave it out")
    demand = _demand(count, where, source, serve, churn_hz)
    findings = examine(demand, find_nic(ELSEWHERE if serve else where))
    click.echo(as_json(demand, findings) if as_object else as_text(demand, findings, width_of(sys.stdout)))
    if fix_script is not None:
        write_whole(fix_script, as_script(demand, findings))
    return 0 if can_work(findings) else 1


def _demand(
    connections: int, where: Target | None, source: tuple[str, ...], is_serve: bool, churn_hz: float | None
) -> Demand:
    """Returns what is asked of this machine, with what the kernel says of it."""
    from loadkit.doctor.demand import demand_of_blast, demand_of_serve
    from loadkit.doctor.locate import locate
    from loadkit.engine.registry import choose_engine
    from loadkit.host import read_host
    from loadkit.profile.engines import EngineName
    from loadkit.sockets import read_sockets

    host, engine = read_host(), choose_engine(EngineName.AUTO)
    if is_serve:
        return locate(replace(demand_of_serve(host, connections, engine), churn_hz=churn_hz))
    sockets = None
    if where and not where.is_unix:
        sockets = read_sockets(where.port, where.addresses, (host.port_low, host.port_high))
    return locate(demand_of_blast(host, connections, where, engine, sockets, source, churn_hz))


def _parse(flag: str, kind: type[_Quantity], text: str, bounds: Bounds | None = None) -> _Quantity:
    from loadkit.errors import OptionError

    try:
        value = kind.parse(text)
        if bounds:
            bounds.check(value)
        return value
    except ValueError as error:
        raise OptionError(f"{flag}: {error}") from None
