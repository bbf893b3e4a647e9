"""A record on its way out: to its files, to GitHub's job summary, and to stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from loadkit.cli.github import add_to_summary, annotate
from loadkit.cli.output import write_record

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["publish"]


def publish(record: RunRecord, text: str, output: Sequence[str], summary: str | None) -> None:
    """Writes the files, then prints the text, and after it the annotations where there is a job summary.

    Raises OutputError, but not before everything else was written and printed: what was measured is not lost with a
    full disk.
    """
    try:
        write_record(record, output)
    finally:
        try:
            if summary:
                add_to_summary(record, summary)
        finally:
            click.echo(text)
            if summary:
                annotate(record)
