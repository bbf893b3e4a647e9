"""A record as a page of HTML that is the record too: it loads nothing, needs no script, and `loadkit report` reads it.

The page goes from what is decided by it to what few look up: verdict and objectives, the run at a glance, charts,
findings and errors; then, folded up, load, placement, host and workers. Pictures are SVG (svg/, charts/) with a table
below each. Where a server takes styles and scripts away (Jenkins does), markup and presentation attributes are left,
and they are enough to read it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import msgspec

from loadkit.measure.encoding import Decode, decode_used
from loadkit.plan.phases import PhaseKind
from loadkit.printable import cleaned
from loadkit.report.charts.band import band_of
from loadkit.report.charts.chart import Chart
from loadkit.report.charts.every import charts_of
from loadkit.report.charts.slices import series_of
from loadkit.report.glance import glance
from loadkit.report.html_parts import block, in_details, table_of, table_of_texts
from loadkit.report.html_style import SCRIPT, policy, style
from loadkit.report.html_tree import Child, element, quoted, written
from loadkit.report.packing import packed
from loadkit.report.page import DEFAULT, Layout, Page, Part
from loadkit.report.record import RunRecord, measured
from loadkit.report.run_page import run_page
from loadkit.report.serve import ServeRecord
from loadkit.report.serve_page import serve_page
from loadkit.report.summary import target_line
from loadkit.report.writing import encode_line

__all__ = ["as_html"]

# What few look up, and the sections of the page that it is made of.
_FOLDED = (("Phases", "phases"), ("Workers", "workers"), ("More figures", "detail"), ("Kernel and TCP", "kernel"))
_VALUE = 300  # characters of a value of a plan that stand in a table; the record has all of them


def as_html(record: RunRecord | ServeRecord, layout: Layout = DEFAULT) -> str:
    """Returns the page, ending in a line feed; its last element but one is the record."""
    decode = functools.cache(decode_used)  # once for a chart and for the record in the page
    body = _run_page(record, layout, decode) if isinstance(record, RunRecord) else _serve_page(record, layout)
    sheet = style()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(sheet, SCRIPT)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="loadkit"),
        element("title", _title(record, layout)),
        element("style", sheet),
    )
    state = record.verdict.state if isinstance(record, RunRecord) else "valid"
    root = element("html", head, element("body", body, class_=state), lang="en")
    text = written(root)
    end = text.rindex("</body>")
    return f"<!DOCTYPE html>\n{text[:end]}\n{_embedded(record, decode)}\n<script>{SCRIPT}</script>\n{text[end:]}\n"


def _embedded(record: RunRecord | ServeRecord, decode: Decode) -> str:
    """Returns the record as a block of data, which no browser runs, without what is null where that is the default."""
    sums = _sums(record) if isinstance(record, RunRecord) else {}
    text = packed(encode_line(_lean(record)).rstrip("\n"), sums, decode)
    return f'<script type="application/octet-stream" id="loadkit-record">{text}</script>'


def _sums(record: RunRecord) -> dict[str, list[str]]:
    """Returns the latencies of the run and of each phase, and those of their rows, which should add up to them.

    Of `disturbed` it is all latencies: in a run that was disturbed it is most of them.
    """
    holds = {phase.name for phase in record.phases if phase.kind == PhaseKind.HOLD}
    latency = measured(record.histograms, "latency").hdr
    found = [(measured(phase.histograms, "latency").hdr, {phase.name}) for phase in record.phases]
    sums = {
        total: [row.latency.hdr for row in record.intervals if row.phase in names and row.latency.hdr]
        for total, names in (*found, (latency, holds))
    }
    return {record.disturbed.hdr: [latency], **sums} if record.disturbed else sums


def _lean(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        found = [(name, getattr(value, name)) for name in value.__struct_fields__]
        return {name: _lean(one) for name, one in found if one is not None or name not in _null_by_default(type(value))}
    if isinstance(value, dict):
        return {name: _lean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_lean(one) for one in value]
    return value


@functools.cache
def _null_by_default(struct: type[msgspec.Struct]) -> set[str]:
    return {one.name for one in msgspec.structs.fields(struct) if one.default is None}


def _title(record: RunRecord | ServeRecord, layout: Layout) -> str:
    if layout.title:
        return cleaned(layout.title)
    if isinstance(record, RunRecord):
        return cleaned(f"loadkit: {target_line(record)}")
    return "loadkit serve"


def _header(record: RunRecord | ServeRecord, page: Page, layout: Layout) -> Element:
    return element(
        "header",
        element("h1", _title(record, layout)),
        element("p", page.headline, class_="verdict"),
        block(page.section("record")),
    )


def _section(title: str, children: Iterable[Child]) -> Element | None:
    found = [child for child in children if child is not None]
    return element("section", element("h2", title), found) if found else None


def _run_page(record: RunRecord, layout: Layout, decode: Decode) -> Iterator[Child]:
    page, shown = run_page(record, layout=layout), cleaned(record)
    series = series_of(shown, decode)
    band = band_of(shown, series)
    yield _header(record, page, layout)
    yield element(
        "main",
        _section(f"Why it is {record.verdict.state}", block(page.section("reasons"))),
        _section("Objectives", block(page.section("objectives"))),
        _section("At a glance", [glance(shown, band), *block((*page.section("run"), *page.section("times")))]),
        _section("Charts", _charts(charts_of(shown, layout.percentiles, series, band))),
        _section("Findings and errors", _findings(page)),
        _section("What next", block(page.section("next"))),
        _section("The run in detail", _folded(shown, page)),
    )


def _serve_page(record: ServeRecord, layout: Layout) -> Iterator[Child]:
    page = serve_page(record)
    yield _header(record, page, layout)
    titles = {"workers": "Workers", "detail": "More figures", "errors": "Errors"}
    yield element("main", (_section(text, block(page.section(title))) for title, text in titles.items()))


def _findings(page: Page) -> Iterator[Element]:
    parts: tuple[Part, ...] = (*page.section("findings"), *page.section("errors"))
    yield from block(parts)
    if not parts:
        yield element("p", "None: no finding, and no error at either end.")


def _charts(charts: Sequence[Chart]) -> Iterator[Element]:
    """Yields the pictures, and below them, one line each, what could not be drawn and why."""
    yield element("div", (_figure(chart) for chart in charts if chart.picture is not None), class_="charts")
    missing = [chart for chart in charts if chart.picture is None]
    if missing:
        lines = (element("li", element("b", chart.title), ": ", quoted(chart.says), id=chart.name) for chart in missing)
        yield element("ul", lines, class_="points")


def _figure(chart: Chart) -> Element:
    caption = element("figcaption", element("h3", chart.title), element("p", quoted(chart.says)))
    table = in_details("Numbers", [table_of(chart.table, chart.title)]) if chart.table else None
    return element("figure", caption, chart.picture, table, id=chart.name)


# -- folded up


def _folded(record: RunRecord, page: Page) -> Iterator[Element]:
    plan = msgspec.to_builtins(record.load)
    yield in_details("Load, and where each value came from", [_values(plan, record.origins.load)])
    for placement in record.placements:
        values = msgspec.to_builtins(placement)
        yield in_details("Placement: workers, cores, addresses", [_values(values, record.origins.placement)])
    yield in_details("Host", [_values(record.host, {})])
    for title, name in _FOLDED:
        parts = page.section(name)
        if parts:
            yield in_details(title, block(parts))


def _values(values: Mapping[str, Any], origins: Mapping[str, str]) -> Element:
    """Returns a table of them; what nothing is known of is in the record alone, unless it says where that came from."""
    titles = ("value", "", "from") if origins else ("value", "")
    known = ((name, value) for name, value in values.items() if value is not None or name in origins)
    return table_of_texts(
        titles, ((name, _said(value), origins.get(name, ""))[: len(titles)] for name, value in known), "values"
    )


def _said(value: object) -> str:
    """Returns a value of a plan as JSON has it, cut where it is long: the record has it all."""
    text = value if isinstance(value, str) else cleaned(msgspec.json.encode(value).decode())
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}…"
