"""What text, Markdown, JUnit and the summary print for a figure is what the figure says, in its unit, of every record.

Each format prints a figure, or leaves it out for a reason that stands here.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from lxml import etree

from loadkit.measure.names import TIMES
from loadkit.report.as_junit import as_junit
from loadkit.report.as_markdown import as_markdown
from loadkit.report.as_text import as_text
from loadkit.report.figures import FIGURES, PARTS
from loadkit.report.reading import load
from loadkit.report.record import PERCENTILES, RunRecord
from loadkit.report.selector import count_of_all, parse_selector, shown
from loadkit.report.summary import bytes_line, connections_line, headline, lost_line, messages_line
from tests.golden.made_up import MS, REMOTE, made_up_plan, made_up_record, steady

_GOLDEN = Path(__file__).parents[1] / "golden"
_RECORDS = {
    str(path.relative_to(_GOLDEN)): path
    for path in sorted([*_GOLDEN.glob("*.json"), *_GOLDEN.glob("frozen/*.json")])
    if path.name != "expected.json"
}
_NAMED = [*_RECORDS, "a million replies"]
_OF_TIMES = [f"{time}.{part}" for time in TIMES for part in (*PARTS, *(f"p{one:g}" for one in PERCENTILES))]
_NAMES = [*(name for name, figure in FIGURES.items() if figure.time is None), *_OF_TIMES]

_COUNT, _VALUE = r"([\d,]+)", r"([\d,.]+ ?\S+)"
# A line of a report -> the figures in it, and what stands before and behind each.
_LINES: Mapping[str, Mapping[str, str]] = {
    "headline": {
        "replies_per_s": rf": {_VALUE} replies",
        "errors": rf", {_COUNT} errors?\b",
        **{f"latency.{part}": rf"\b{re.escape(part)} (never|{_VALUE[1:-1]})" for part in ("p50", "p99", "p99.9")},
    },
    "messages": {name: rf"{_COUNT} {name}" for name in ("intended", "sent", "replied", "failed", "unanswered")}
    | {name: rf"{_COUNT} {name}" for name in ("unsent", "waited")},
    "connections": {
        "opened": rf"{_COUNT} opened",
        "failed_connects": rf"{_COUNT} failed",
        "connects_per_s": rf"at {_VALUE}$",
    },
    "bytes": {"sent_bytes_per_s": rf"^{_VALUE} sent", "received_bytes_per_s": rf"{_VALUE} received"},
    "lost": {"error_ratio": r"\(error_ratio ([^)]+)\)"},
}
_TABLE = {"min": "min", "mean": "mean", "max": "max"} | {f"p{one:g}": f"p{one:g}" for one in PERCENTILES}

# A format -> figures -> why it does not print them.
_LEFT_OUT = {
    "text": {name: "no room in 100 columns" for name in _OF_TIMES if name.endswith(".p99.999")},
    "markdown": {name: "the table is that of the text" for name in _OF_TIMES if name.endswith(".p99.999")},
    "junit": {
        name: "an objective brings any figure with it; without, latency and service are what is compared"
        for name in _OF_TIMES
        if not re.fullmatch(r"(latency|service)\.p.*|latency\.p.*", name)
    },
    "summary": {name: "the tables have the times" for name in _OF_TIMES if name not in _LINES["headline"]},
}

Shown = dict[str, str]  # figure -> what is printed, "-" if it says that there is no value


def _in_lines(lines: Mapping[str, str | None]) -> Shown:
    found = {}
    for line, figures in _LINES.items():
        text = lines[line]
        for name, pattern in figures.items() if text is not None else ():
            match = re.search(pattern, text or "")
            if match:
                found[name] = match[1].rstrip(",;")
    return found


def _in_table(titles: list[str], rows: Iterator[list[str]], record: RunRecord) -> Shown:
    """A row has what came back, as its heading says: the same as the figure if nothing of it is lost."""
    found = {}
    for name, *cells in rows:
        histogram = record.histograms.get(name)
        if histogram and count_of_all(record, parse_selector(f"{name}.p50")) == histogram.count:
            found |= {f"{name}.{title}": cell for title, cell in zip(titles, cells, strict=True) if title in _TABLE}
    return found


def _text(record: RunRecord) -> Shown:
    text = as_text(record)
    rows = {
        name: " ".join(match[1].split())
        for name in ("messages", "connections", "bytes")
        if (match := re.search(rf"^{name:<15}(.*(?:\n {{15}}.*)*)", text, re.MULTILINE))
    }
    lost = re.search(r"^[\d,]+ of [\d,]+ messages? did not come back.*\n.*", text, re.MULTILINE)
    lines = {"bytes": None, **rows, "headline": text.partition("\n")[0]}
    table = text[text.index("\ncame back") + 1 :].partition("\n\n")[0].splitlines()
    cells = [[line[:10].strip(), *(line[at : at + 8].strip() for at in range(20, len(line), 8))] for line in table]
    in_table = _in_table(cells[0][1:], (row for row in cells[1:] if row[0] in TIMES), record)
    return _in_lines({**lines, "lost": lost and " ".join(lost[0].split())}) | in_table


def _markdown(record: RunRecord) -> Shown:
    text = html.unescape(re.sub(r"\\(.)", r"\1", as_markdown(record)))
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    rows = {row[0]: row[1] for row in cells if len(row) == 2}
    lost = re.search(r"^[\d,]+ of [\d,]+ messages? did not come back.*", text, re.MULTILINE)
    lines = {name: rows.get(name) for name in ("messages", "connections", "bytes")}
    [titles] = [row for row in cells if row[0] == "came back"]
    in_table = _in_table(titles[2:], ([row[0], *row[2:]] for row in cells if row[0] in TIMES), record)
    return _in_lines({**lines, "headline": text.partition("\n")[0], "lost": lost and lost[0]}) | in_table


def _junit(record: RunRecord) -> Shown:
    suite = etree.fromstring(as_junit(record).encode())
    values = {one.get("name"): one.get("value") for one in suite.iter("property")}
    [said] = suite.iter("system-out")
    lines = {name: values.get(name) for name in ("messages", "connections", "bytes")}
    named = {name: value for name, value in values.items() if name in _NAMES}
    return _in_lines({**lines, "headline": said.text.strip().partition("\n")[0], "lost": None}) | named


def _summary(record: RunRecord) -> Shown:
    return _in_lines(
        {
            "headline": headline(record),
            "messages": messages_line(record),
            "connections": connections_line(record),
            "bytes": bytes_line(record),
            "lost": lost_line(record),
        }
    )


_FORMATS: dict[str, Callable[[RunRecord], Shown]] = {
    "text": _text,
    "markdown": _markdown,
    "junit": _junit,
    "summary": _summary,
}


@functools.cache
def _record(name: str) -> RunRecord:
    return load(str(_RECORDS[name])) if name in _RECORDS else _many()


def _many() -> RunRecord:
    """A million replies: they support every percentile."""
    return made_up_record(made_up_plan(400.0, REMOTE), steady([MS] * 500_000, [0] * 500_000))


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("name", _NAMED)
def test_what_a_format_prints_of_a_figure_is_what_the_figure_is(name: str, format_: str) -> None:
    record = _record(name)
    printed = _FORMATS[format_](record)
    expected = {figure: shown(record, figure) or "-" for figure in printed}
    assert printed == expected


@pytest.mark.parametrize("format_", _FORMATS)
def test_a_format_prints_every_figure_of_some_record_or_has_a_reason(format_: str) -> None:
    printed = {figure for name in _NAMED for figure, text in _FORMATS[format_](_record(name)).items() if text != "-"}
    # 100 connections support no more than a p90 of these.
    rare = {name for name in _NAMES if re.match(r"(connect|handshake|first_byte)\.p9[59]", name)}
    assert printed | set(_LEFT_OUT[format_]) >= set(_NAMES) - rare
    assert not printed & set(_LEFT_OUT[format_])


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("name", _NAMED)
def test_a_figure_that_has_a_value_is_printed_unless_nothing_was_lost(name: str, format_: str) -> None:
    record = _record(name)
    printed = _FORMATS[format_](record)
    known = {figure for figure in _NAMES if shown(record, figure)} - set(_LEFT_OUT[format_])
    lossy = {
        figure
        for figure in known
        if (time := parse_selector(figure).figure.time)
        and (histogram := record.histograms[time])
        and count_of_all(record, parse_selector(figure)) != histogram.count
    }
    missing = known - set(printed) - lossy
    assert missing <= ({"error_ratio"} if record.messages.intended == record.messages.replied else set())
