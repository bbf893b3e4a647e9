"""`loadkit report`."""

from __future__ import annotations

import click

from loadkit.cli.output import check_format, check_writable, write_whole

__all__ = ["report"]


@click.command()
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="write the merged record here, as .json")
def report(records: tuple[str, ...], output: str | None) -> int:
    """Print the report of a record; several of the same plan are merged, histogram by histogram."""
    from loadkit.report.as_text import as_text
    from loadkit.report.merge import merge_records
    from loadkit.report.record import encode, load

    if output:
        check_format(output)
        check_writable(output)
    loaded = [load(path) for path in records]
    record = loaded[0] if len(loaded) == 1 else merge_records(loaded)
    if output:
        write_whole(output, encode(record))
    click.echo(as_text(record, output or (records[0] if len(records) == 1 else None)))
    return 0
