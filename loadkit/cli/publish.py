"""A record on its way out: to its files, to GitHub's job summary, and to stdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from loadkit.cli.github import add_to_summary, annotate
from loadkit.cli.output import files, write_record
from loadkit.errors import OutputError
from loadkit.printable import printable
from loadkit.report.formats import FORMATS, RECORD, STDOUT

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["publish"]


def publish(
    record: RunRecord,
    output: Sequence[str],
    summary: str | None,
    again: str | None,
    quiet: bool = False,
    on_kept: Callable[[], None] = lambda: None,
) -> bool:
    """Writes the files, then prints the report, and after it the annotations where there is a job summary.

    `again` is where `loadkit report` can read the record again; `quiet` leaves the first line of the report alone. What
    cannot be written keeps nothing else from being written and printed. It is said in one line, and False returned.
    `on_kept` is called when nothing is left but to print. With standard output among the outputs the record is printed
    there, and all else on standard error.
    """
    is_on_stdout = STDOUT in output
    from loadkit.report.as_text import as_text

    problems = []
    try:
        write_record(record, files(output))
    except OutputError as error:
        problems.append(str(error))
    try:
        if summary:
            add_to_summary(record, summary)
    except OutputError as error:
        problems.append(str(error))
    on_kept()
    text = as_text(record, again)
    if is_on_stdout:
        click.echo(FORMATS[RECORD].write(record), nl=False)
    click.echo(text.splitlines()[0] if quiet else text, err=is_on_stdout)
    if summary:
        annotate(record, is_on_stdout)
    if problems:
        click.echo(printable(f"loadkit: {'; '.join(problems)}"), err=True)
    return not problems
