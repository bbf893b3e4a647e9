"""`loadkit report`."""

from __future__ import annotations

import click

from loadkit.cli.complete import complete_records
from loadkit.cli.environment import Command
from loadkit.cli.github import find_summary, github_option
from loadkit.cli.output import check_outputs, files, find_json, layout_options, output_option
from loadkit.cli.publish import publish, publish_serve, publish_table
from loadkit.library.files import check_writable
from loadkit.limits import TO_READ_BYTES, require_memory
from loadkit.report.formats import FORMATS, SERVE_FORMATS, TABLE
from loadkit.report.page import Layout

__all__ = ["report"]


_EXAMPLES = """\b
Examples:
  loadkit report run.json                       the report again
  loadkit report monday.json tuesday.json       runs of one load, merged
  loadkit report run.json --server serve.json   both ends of a run
  loadkit report run.json -o run.html           a page with charts
  loadkit report run.json -o run.md -o run.xml  other formats
  loadkit report *.json --table -o runs.csv     a row for each record"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="print a record as text; merge several; join both ends")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True, shell_complete=complete_records)
@click.option("--server", metavar="FILE", help="the serve end's record of the same run (`loadkit serve -o`)")
@click.option(
    "--table",
    is_flag=True,
    help="print a row for each RECORD as CSV, with every figure, in place of a report; -o FILE.csv writes it there",
)
@output_option("also write it to FILE")
@layout_options
@github_option
def report(
    records: tuple[str, ...],
    server: str | None,
    table: bool,
    output: tuple[str, ...],
    title: str | None,
    percentiles: tuple[str, ...],
    github: bool,
) -> int:
    """Print the report of a record; several of the same load on the same target are merged.

    Runs that followed one another become one longer run. Runs that went on side by side become one larger load.
    Percentiles are of all values. The verdict is worked out again, also for a single record. The exit status does not
    say how the run went; that of `loadkit blast` does.
    """
    require_memory(TO_READ_BYTES)
    from loadkit.errors import OptionError
    from loadkit.report.merge import merge_records
    from loadkit.report.serve import ServeRecord, join, load_either, load_serve
    from loadkit.report.verdict import judged

    if table and (server or github):
        raise OptionError("--table prints a row for each record in place of a report; leave --server and --github out")
    summary = find_summary(github)
    check_outputs(output, {"GITHUB_STEP_SUMMARY": summary}, {TABLE: FORMATS[TABLE]} if table else FORMATS)
    for path in files(output):
        check_writable(path)
    if table:
        return 0 if publish_table(records, output) else 1
    found = [load_either(path) for path in records]
    for path, serve in zip(records, found, strict=True):
        if not isinstance(serve, ServeRecord):
            continue
        if len(records) > 1 or server or github:
            way_out = "report it alone, or join it to its run with --server"
            raise OptionError(f"{path}: the record of a serve end; {way_out}")
        check_outputs(output, {}, SERVE_FORMATS)
        return 0 if publish_serve(serve, output, is_kept=True) else 1
    loaded = [one for one in found if not isinstance(one, ServeRecord)]
    if server and len(loaded) > 1:
        raise OptionError("--server: joins the two ends of one run; give one RECORD")
    record = judged(merge_records(loaded, records))
    if server:
        record = join(record, load_serve(server), server)
    again = find_json(output) or (records[0] if len(records) == 1 else None)
    layout = Layout(title, percentiles)
    return 0 if publish(record, output, summary, again, layout=layout, is_kept=True) else 1
