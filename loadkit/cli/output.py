"""The record of a run as files: the option for them, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadkit.cli.complete import completes_formats
from loadkit.cli.options import GroupedOption
from loadkit.errors import OptionError, OutputError, RecordError
from loadkit.library.files import NOWHERE, check_names, rescue, write_whole
from loadkit.profile.option import Group
from loadkit.report.formats import FORMATS, RECORD, STDOUT, Format, check_format, formats_in_words, is_record, rendered
from loadkit.report.page import DEFAULT, MOST_PERCENTILES, Layout, parse_percentiles

if TYPE_CHECKING:
    from loadkit.report.record import RunRecord
    from loadkit.report.serve import ServeRecord

__all__ = ["UnwrittenError", "check_outputs", "files", "find_json", "layout_options", "output_option", "write_record"]


class UnwrittenError(OutputError):
    """Outputs are not there: `failed`, as they were given. `is_lost`: no file has the record."""

    def __init__(self, said: str, failed: frozenset[str], is_lost: bool) -> None:
        super().__init__(said)
        self.failed = failed
        self.is_lost = is_lost


def output_option(
    what: str, formats: Mapping[str, Format] = FORMATS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns what adds -o/--output, which takes any number of files; `what` begins its help."""
    return click.option(
        "-o",
        "--output",
        cls=GroupedOption,
        group=Group.OUTPUT,
        multiple=True,
        metavar="FILE",
        shell_complete=completes_formats(formats),
        help=f"{what}, as {formats_in_words(formats)}; -: the record on stdout, the report on stderr (repeatable)",
    )


def layout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --title and --percentiles."""
    percentiles = click.option(
        "--percentiles",
        cls=GroupedOption,
        group=Group.OUTPUT,
        metavar="P,...",
        default=",".join(DEFAULT.percentiles),
        show_default=True,
        callback=_read_percentiles,
        help=f"the percentiles of the report, the page and Markdown, {MOST_PERCENTILES} at most",
    )
    title = click.option(
        "--title",
        cls=GroupedOption,
        group=Group.OUTPUT,
        metavar="TEXT",
        help="the title of the page (.html) and of Markdown, in place of the target",
    )
    return title(percentiles(command))


def _read_percentiles(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    try:
        return parse_percentiles(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def files(paths: Sequence[str]) -> list[str]:
    """Returns those of the outputs that are files: all but standard output."""
    return [path for path in paths if path != STDOUT]


def check_outputs(
    paths: Sequence[str], also: Mapping[str, str | None], formats: Mapping[str, Format] = FORMATS
) -> None:
    """Raises OptionError for an output that cannot be written, or if two are one file.

    `also` has the other files that the command writes, by the option or variable that names each; None is not given.
    """
    if paths.count(STDOUT) > 1:
        raise OptionError("--output: - is given twice; the record is printed once")
    paths = files(paths)
    for path in paths:
        check_format(path, formats)
    others = [(name, path) for name, path in also.items() if path is not None]
    check_names([*(("--output", path) for path in paths), *others])


def find_json(paths: Sequence[str]) -> str | None:
    """Returns the path that `loadkit report` can read again: a record before a page that has it."""
    return min(filter(is_record, paths), key=lambda path: Path(path).suffix != RECORD, default=None)


def write_record(
    record: RunRecord | ServeRecord, paths: Sequence[str], layout: Layout = DEFAULT, is_kept: bool = False
) -> None:
    """Writes the record to each path. Raises UnwrittenError when some could not be written, after the others were.

    If the record itself is not among these, it is put where it can be, and the error says where. `is_kept`: there is a
    file of it already.
    """
    problems = dict[str, str]()
    # The record first, and the page that has it: what reads it comes later, and may fail.
    for path in sorted(paths, key=lambda path: (Path(path).suffix != RECORD, not is_record(path))):
        try:
            write_whole(path, rendered(record, path, layout))
            is_kept |= is_record(path)
        except OutputError as error:
            problems[path] = str(error)
        except RecordError as error:
            problems[path] = f"{path}: {error}"
        except Exception as error:  # a fault of ours in a format: what was measured is kept all the same
            if not is_kept:
                error.add_note(rescue(rendered(record, STDOUT), paths) or NOWHERE)
            raise
    if not problems:
        return
    where = None if is_kept else rescue(rendered(record, STDOUT), paths) or NOWHERE
    said = "; ".join(filter(None, [*problems.values(), where]))
    raise UnwrittenError(said, frozenset(problems), is_lost=where == NOWHERE)
