"""`loadkit doctor`."""

from __future__ import annotations

import click

__all__ = ["doctor"]


@click.command()
@click.argument("target", metavar="[HOST:PORT]", required=False)
@click.option("-c", "--connections", metavar="N", default="10k", show_default=True, help="connections that should work")
def doctor(target: str | None, connections: str) -> int:
    """Say whether this machine can hold N connections, and the exact lines that mend what is in the way."""
    from loadkit.doctor.check import as_text, can_work, examine
    from loadkit.errors import OptionError
    from loadkit.host import read_host
    from loadkit.run.target import resolve
    from loadkit.units import Count

    try:
        count = Count.parse(connections)
    except ValueError as error:
        raise OptionError(f"--connections: {error}") from None
    if count < 1:
        raise OptionError("--connections: 0 is below the least, 1")
    findings = examine(read_host(), count, resolve(target) if target else None)
    click.echo(as_text(findings))
    return 0 if can_work(findings) else 1
