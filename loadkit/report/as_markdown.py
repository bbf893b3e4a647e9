"""A record as Markdown, for a job summary or a comment: the verdict, its reasons, the objectives, the headline figures.

GitHub's dialect: tables, and no line breaks inside a paragraph. Every line stands by itself, so that a text that is too
long can end after any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadkit.printable import page
from loadkit.report.escape import markdown, markdown_code
from loadkit.report.record import RunRecord
from loadkit.report.scale import memory_line, opening_line
from loadkit.report.suggest import next_command
from loadkit.report.summary import (
    bytes_line,
    connections_line,
    crowd_line,
    headline,
    load_line,
    lost_line,
    measured_line,
    messages_line,
    slo_value,
    standstills_line,
    target_line,
)
from loadkit.units import format_count, format_duration

__all__ = ["as_markdown", "shortened"]

_COLUMNS = ("50", "75", "90", "95", "99", "99.9", "99.99")
_CUT = "\n\n*The rest did not fit; the record has it all.*\n"


def as_markdown(record: RunRecord) -> str:
    """Returns the report in Markdown, ending in a line feed."""
    sections = [
        [f"## loadkit: {markdown(headline(record))}"],
        _reasons(record),
        _findings(record),
        _slo(record),
        _what(record),
        _histograms(record),
        _errors(record),
        _last(record),
    ]
    return page("\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n")


def shortened(text: str, most_bytes: int) -> str:
    """Returns the whole lines of the text that fit into so many bytes of UTF-8, and a word on it; "" where none fit."""
    if len(text.encode()) <= most_bytes:
        return text
    room = most_bytes - len(_CUT.encode())
    kept = text.encode()[: max(0, room)].rpartition(b"\n")[0].decode()
    return kept.rstrip() + _CUT if kept else ""


def _reasons(record: RunRecord) -> Iterator[str]:
    for reason in record.verdict.reasons:
        yield f"- **{markdown(reason.code)}**: {markdown(reason.text)}"


def _findings(record: RunRecord) -> Iterator[str]:
    for one in record.findings:
        yield f"- finding **{markdown(one.code)}** ({one.party}): {markdown(one.text)}"


def _slo(record: RunRecord) -> Iterator[str]:
    if record.slo:
        yield from _table(("SLO", "", "value"), "lll")
    for slo in record.slo:
        yield _cells(markdown_code(slo.expr), "met" if slo.ok else "**missed**", markdown(slo_value(slo)))


def _what(record: RunRecord) -> Iterator[str]:
    yield from _table(("", ""), "ll")
    rows = (
        ("target", target_line(record)),
        ("load", load_line(record)),
        ("workers", crowd_line(record)),
        ("connections", connections_line(record)),
        ("opening", opening_line(record)),
        ("memory", memory_line(record)),
        ("messages", messages_line(record)),
        ("standstills", standstills_line(record)),
        ("bytes", bytes_line(record)),
        ("measured", measured_line(record)),
        ("journey", record.journey.diagnosis if record.journey else record.journey_missing),
        ("engine", record.tool.fallback),
    )
    yield from (_cells(name, markdown(line)) for name, line in rows if line)


def _histograms(record: RunRecord) -> Iterator[str]:
    yield from _table(("came back", "count", "min", *(f"p{name}" for name in _COLUMNS), "max", "mean"), "lrrrrrrrrrrr")
    for name, histogram in record.histograms.items():
        if histogram is None:
            continue
        values = (histogram.min, *(histogram.percentiles[column] for column in _COLUMNS), histogram.max, histogram.mean)
        yield _cells(markdown(name), format_count(histogram.count), *map(_time, values))
    lost = lost_line(record)
    if lost:
        yield ""
        yield markdown(lost)


def _errors(record: RunRecord) -> Iterator[str]:
    rows = [*record.errors, *(record.server.errors if record.server else ())]
    if rows:
        yield from _table(("errors", "phase", "step", "error", "advice"), "rllll")
    for row in rows:
        yield _cells(format_count(row.count), *map(markdown, (row.phase, row.step, row.error, row.advice)))


def _last(record: RunRecord) -> Iterator[str]:
    command, what_for = next_command(record)
    yield f"Next ({markdown(what_for)}): {markdown_code(command)}"
    yield ""
    machine = f"{record.host.get('cpus', '-')} CPUs, kernel {record.host.get('kernel', '-')}"
    yield markdown(f"loadkit {record.tool.loadkit}, Python {record.tool.python}, {machine}, {record.started}")


def _table(titles: Iterable[str], alignment: str) -> Iterator[str]:
    yield _cells(*titles)
    yield _cells(*("---:" if one == "r" else "---" for one in alignment))


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _time(value: float | None) -> str:
    return "-" if value is None else format_duration(value)
