"""`loadkit report`."""

from __future__ import annotations

from pathlib import Path

import click

from loadkit.cli.complete import complete_records
from loadkit.cli.environment import Command
from loadkit.cli.github import find_summary, github_option
from loadkit.cli.output import check_outputs, files, find_json, output_option
from loadkit.cli.publish import publish
from loadkit.library.files import check_writable, write_whole
from loadkit.limits import TO_READ_BYTES, require_memory
from loadkit.report.formats import RECORD, SERVE_FORMATS, STDOUT, check_format

__all__ = ["report"]


_EXAMPLES = """\b
Examples:
  loadkit report run.json                           the text again
  loadkit report monday.json tuesday.json           runs of one load, added up
  loadkit report run.json --server serve.json       with what the serve end wrote of the same run
  loadkit report run.json -o run.md -o run.xml      in other formats"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="print a record as text; merge several; join both ends")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True, shell_complete=complete_records)
@click.option("--server", metavar="FILE", help="the serve end's record of the same run (`loadkit serve -o`)")
@output_option
@github_option
def report(records: tuple[str, ...], server: str | None, output: tuple[str, ...], github: bool) -> int:
    """Print the report of a record; several of the same load on the same target are merged.

    Runs that followed one another become one longer run, runs that went on side by side one larger load. Percentiles
    are those of all values. The verdict is worked out anew, also of a single record. The exit status does not say how
    the run went; that of `loadkit blast` does.
    """
    require_memory(TO_READ_BYTES)
    from loadkit.errors import OptionError
    from loadkit.report.merge import merge_records
    from loadkit.report.reading import format_of
    from loadkit.report.record import load
    from loadkit.report.serve import FORMAT, join, load_serve
    from loadkit.report.verdict import judged

    summary = find_summary(github)
    check_outputs(output, summary)
    for path in files(output):
        check_writable(path)
    of_serve = [path for path in records if format_of(path) == FORMAT]
    if of_serve and (len(records) > 1 or server or github):
        raise OptionError(f"{of_serve[0]}: of a serve end; report it alone, or join it to its run with --server")
    if of_serve:
        return _report_serve(of_serve[0], output)
    loaded = [load(path) for path in records]
    if server and len(loaded) > 1:
        raise OptionError("--server: joins the two ends of one run; give one RECORD")
    record = judged(merge_records(loaded, records))
    if server:
        record = join(record, load_serve(server), server)
    again = find_json(output) or (records[0] if len(records) == 1 else None)
    return 0 if publish(record, output, summary, again) else 1


def _report_serve(path: str, output: tuple[str, ...]) -> int:
    from loadkit.report.as_text import as_text
    from loadkit.report.serve import load_serve

    for name in files(output):
        check_format(name, tuple(SERVE_FORMATS))
    record = load_serve(path)
    for name in files(output):
        write_whole(name, SERVE_FORMATS[Path(name).suffix](record))
    if STDOUT in output:
        click.echo(SERVE_FORMATS[RECORD](record), nl=False)
    click.echo(as_text(record), err=STDOUT in output)
    return 0
