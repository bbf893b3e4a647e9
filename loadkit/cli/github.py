"""What a step of GitHub Actions takes: Markdown for the job summary, annotations on stdout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadkit.cli.options import GroupedOption
from loadkit.errors import OptionError, OutputError
from loadkit.library.files import add_to, check_writable
from loadkit.printable import printable
from loadkit.profile.option import Group
from loadkit.report.page import DEFAULT, Layout

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord

__all__ = ["add_to_summary", "annotate", "find_summary", "github_option"]

_VARIABLE = "GITHUB_STEP_SUMMARY"
# The runner drops the whole summary of a step that is larger.
MOST_BYTES = 1024 * 1024


def github_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --github."""
    return click.option(
        "--github",
        cls=GroupedOption,
        group=Group.OUTPUT,
        is_flag=True,
        help="in GitHub Actions: add the report to the job summary, and annotate what was not met",
    )(command)


def find_summary(github: bool) -> str | None:
    """Returns the job summary's path where `github` asks for it.

    Raises OptionError outside of a step of GitHub Actions, and OutputError if the file cannot be added to. Both come
    before the run: a pipeline that failed after it would lose the run.
    """
    if not github:
        return None
    path = os.environ.get(_VARIABLE)
    if not path:
        raise OptionError(
            f"--github: {_VARIABLE} is not set, which GitHub Actions sets in each step; into a container it has to be "
            f"passed (docker run -e {_VARIABLE}) with its folder mounted; elsewhere use -o run.md"
        )
    if not Path(path).exists():
        check_writable(path)
    elif not Path(path).is_file() or not os.access(path, os.W_OK):
        raise OutputError(f"{path}: {_VARIABLE} names it, but it is not a file that can be appended to")
    return path


def add_to_summary(record: RunRecord, path: str, layout: Layout = DEFAULT) -> None:
    """Adds as much of the report to the job summary as the limit leaves room for, and says if there was no room.

    Raises OutputError.
    """
    from loadkit.report.as_markdown import as_markdown, shortened

    try:
        there = Path(path).stat().st_size if Path(path).exists() else 0
        # An empty line, in case the file does not end in one: a heading or a table would join its last paragraph.
        text = shortened(("\n\n" if there else "") + as_markdown(record, layout), MOST_BYTES - there)
    except OSError as error:
        raise OutputError(f"{path}: cannot be added to: {error.strerror}") from None
    add_to(path, text)
    if not text:
        text = f"loadkit: {path}: nothing was added, the job summary is full (1 MiB a step)"
        click.echo(printable(text), err=True)


def annotate(record: RunRecord, err: bool = False) -> None:
    """Prints the annotations, each on a line of its own: GitHub reads them off stdout and stderr alike."""
    from loadkit.report.as_annotations import as_annotations

    for line in as_annotations(record):
        click.echo(line, err=err)
