"""`loadkit doctor`."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import click

from loadkit.cli.output import check_writable, write_whole
from loadkit.units import Count, Rate

__all__ = ["doctor"]

_Quantity = TypeVar("_Quantity", Count, Rate)


@click.command()
@click.argument("target", metavar="[HOST:PORT]", required=False)
@click.option("-c", "--connections", metavar="N", default="10k", show_default=True, help="connections that should work")
@click.option(
    "--serve", is_flag=True, help="only the serve end is here: N connections from elsewhere to `loadkit serve`"
)
@click.option(
    "--churn", metavar="RATE", help="connections closed by FIN a second: whether TIME_WAIT leaves ports enough"
)
@click.option("--json", "as_object", is_flag=True, help="print the findings as JSON")
@click.option("--fix-script", metavar="FILE", help="write the sysctl lines as a shell script; it applies none of them")
def doctor(
    target: str | None, connections: str, serve: bool, churn: str | None, as_object: bool, fix_script: str | None
) -> int:
    """Say whether this machine can hold N connections, and the exact lines that mend what is in the way.

    Without HOST:PORT both ends are here, as `loadkit blast` has them. Exit status 1: it cannot.
    """
    from loadkit.doctor.as_json import as_json
    from loadkit.doctor.as_script import as_script
    from loadkit.doctor.as_text import as_text
    from loadkit.doctor.check import examine
    from loadkit.doctor.demand import demand_of_blast, demand_of_serve
    from loadkit.doctor.finding import can_work
    from loadkit.doctor.nic import find_nic
    from loadkit.engine.registry import choose_engine
    from loadkit.errors import OptionError
    from loadkit.host import read_host
    from loadkit.profile.model import EngineName
    from loadkit.run.target import resolve
    from loadkit.sockets import read_sockets

    count = _parse("--connections", Count, connections)
    if count < 1:
        raise OptionError("--connections: 0 is below the least, 1")
    churn_hz = _parse("--churn", Rate, churn) if churn is not None else None
    if serve and target:
        raise OptionError("--serve: the connections come from elsewhere; leave HOST:PORT out")
    if fix_script:
        check_writable(fix_script)
    where = resolve(target) if target else None
    host, engine = read_host(), choose_engine(EngineName.AUTO)
    sockets = read_sockets(where.port, where.addresses, (host.port_low, host.port_high)) if where else None
    demand = demand_of_serve(host, count, engine) if serve else demand_of_blast(host, count, where, engine, sockets)
    demand = replace(demand, churn_hz=churn_hz)
    findings = examine(demand, find_nic(where))
    if fix_script:
        write_whole(fix_script, as_script(demand, findings))
    click.echo(as_json(demand, findings) if as_object else as_text(demand, findings))
    return 0 if can_work(findings) else 1


def _parse(flag: str, kind: type[_Quantity], text: str) -> _Quantity:
    from loadkit.errors import OptionError

    try:
        return kind.parse(text)
    except ValueError as error:
        raise OptionError(f"{flag}: {error}") from None
