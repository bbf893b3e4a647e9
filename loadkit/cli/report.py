"""`loadkit report`."""

from __future__ import annotations

import click

from loadkit.cli.output import check_format, check_writable, write_whole

__all__ = ["report"]


@click.command()
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@click.option("--server", metavar="FILE", help="the serve end's own record (`loadkit serve -o`), of the same run")
@click.option("-o", "--output", metavar="FILE", help="write the merged or joined record here, as .json")
def report(records: tuple[str, ...], server: str | None, output: str | None) -> int:
    """Print the report of a record; several of the same plan are merged, histogram by histogram."""
    from loadkit.errors import OptionError
    from loadkit.report.as_text import as_text
    from loadkit.report.merge import merge_records
    from loadkit.report.record import encode, load
    from loadkit.report.serve import join, load_serve

    if output:
        check_format(output)
        check_writable(output)
    loaded = [load(path) for path in records]
    if server and len(loaded) > 1:
        raise OptionError("--server: joins the two ends of one run; give one RECORD")
    record = loaded[0] if len(loaded) == 1 else merge_records(loaded)
    if server:
        record = join(record, load_serve(server), server)
    if output:
        write_whole(output, encode(record))
    click.echo(as_text(record, output or (records[0] if len(records) == 1 else None)))
    return 0
