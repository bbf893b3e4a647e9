"""A record on its way out: to its files, to GitHub's job summary, and to stdout.

A record that no folder takes is printed, as with `-o -`: the disk of a container may be all there is, and be full.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from loadkit.cli.github import add_to_summary, annotate
from loadkit.cli.output import UnwrittenError, files, write_record
from loadkit.cli.streams import width_of
from loadkit.errors import OutputError, RecordError
from loadkit.library.files import write_whole
from loadkit.printable import printable
from loadkit.report.formats import STDOUT, rendered
from loadkit.report.page import DEFAULT, Layout

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord
    from loadkit.report.serve import ServeRecord

__all__ = ["publish", "publish_serve", "publish_table"]


def publish(
    record: RunRecord,
    output: Sequence[str],
    summary: str | None,
    again: str | None,
    quiet: bool = False,
    on_kept: Callable[[], None] = lambda: None,
    layout: Layout = DEFAULT,
    is_kept: bool = False,
) -> bool:
    """Writes the files, then prints the report, and after it the annotations if there is a job summary.

    `again` is where `loadkit report` can read the record again; `quiet` prints the first line of the report alone. A
    file that cannot be written keeps nothing else from being written and printed. It is said in one line, and False
    returned. `on_kept` is called when nothing is left but to print. With standard output among the outputs the record
    is printed there, and all else on standard error. `is_kept`: the record comes from a file.
    """
    from loadkit.report.as_text import as_text
    from loadkit.report.summary import headline

    problems, failed, is_on_stdout = _write(record, output, layout, is_kept)
    try:
        if summary:
            add_to_summary(record, summary, layout)
    except OutputError as error:
        problems.append(str(error))
    on_kept()
    where = None if again in failed else again
    report = printable(headline(record)) if quiet else as_text(record, where, layout, _width(is_on_stdout))
    _print(record, output, report, is_on_stdout)
    if summary:
        annotate(record, is_on_stdout)
    return _say(problems)


def publish_serve(
    record: ServeRecord,
    output: Sequence[str],
    quiet: bool = False,
    on_kept: Callable[[], None] = lambda: None,
    is_kept: bool = False,
) -> bool:
    """Does the same with the record of a serve end, which has no objectives: `quiet` prints nothing of the report."""
    from loadkit.report.as_text import as_text

    problems, _failed, is_on_stdout = _write(record, output, is_kept=is_kept)
    on_kept()
    _print(record, output, "" if quiet else as_text(record, width=_width(is_on_stdout)), is_on_stdout)
    return _say(problems)


def publish_table(paths: Sequence[str], output: Sequence[str]) -> bool:
    """Writes a table with a row for each record that can be read, to the files or on stdout; says why others cannot.

    Without any such record nothing is written.
    """
    from loadkit.report.as_table import as_table, table_row
    from loadkit.report.reading import load
    from loadkit.report.verdict import judged

    rows, problems = [], []
    for path in paths:
        try:
            rows.append(table_row(judged(load(path)), path))
        except RecordError as error:
            problems.append(str(error))
    if not rows:
        return _say([*problems, "no table was written, for no record could be read"])
    text = as_table(rows)
    for name in files(output):
        try:
            write_whole(name, text)
        except OutputError as error:
            problems.append(str(error))
    if STDOUT in output or not output:
        click.echo(text, nl=False)
    return _say(problems)


def _write(
    record: RunRecord | ServeRecord, output: Sequence[str], layout: Layout = DEFAULT, is_kept: bool = False
) -> tuple[list[str], frozenset[str], bool]:
    """Returns what is wrong, which outputs are not there, and whether standard output is the record's.

    What no folder takes is there now.
    """
    is_on_stdout = STDOUT in output
    try:
        write_record(record, files(output), layout, is_kept)
    except UnwrittenError as error:
        if not error.is_lost:
            return [str(error)], error.failed, is_on_stdout
        if not is_on_stdout:
            click.echo(rendered(record, STDOUT), nl=False)
        return [f"{error}; it is on standard output"], error.failed, True
    return [], frozenset(), is_on_stdout


def _width(is_on_stdout: bool) -> int:
    """Returns how wide the report is, where it goes; it gives way to a record on standard output."""
    return width_of(sys.stderr if is_on_stdout else sys.stdout)


def _print(record: RunRecord | ServeRecord, output: Sequence[str], report: str, is_on_stdout: bool) -> None:
    if STDOUT in output:
        click.echo(rendered(record, STDOUT), nl=False)
    if report:
        click.echo(report, err=is_on_stdout)


def _say(problems: Sequence[str]) -> bool:
    """Says on standard error what could not be written, and returns whether all was."""
    if problems:
        click.echo(printable(f"loadkit: {'; '.join(problems)}"), err=True)
    return not problems
