"""The list of figures: each has a unit that reads what it prints, and a value or a reason in every record."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.measure.names import TIMES
from loadkit.report.figures import FIGURES, PARTS, SHARE, Figure, figure_named
from loadkit.report.record import Messages
from loadkit.report.selector import parse_selector, read, shown
from tests.golden.made_up import RUNS


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_every_figure_has_a_value_or_a_reason_in_every_record(figure: Figure, name: str) -> None:
    record = RUNS[name]()
    found = read(record, figure.name)
    assert (found.value is None) is bool(found.reason)
    assert not found.is_never or found.value is None
    if found.value is not None:
        assert shown(record, figure.name) == figure.unit.shown(found.value)


def test_a_figure_is_found_by_its_name_and_times_have_any_percentile() -> None:
    assert all(figure_named(name) is figure for name, figure in FIGURES.items())
    assert {figure.time for figure in FIGURES.values()} == {None, *TIMES}
    for time in TIMES:
        assert (figure_named(f"{time}.p97.5").time, figure_named(f"{time}.p97.5").percentile) == (time, "97.5")
    assert all(FIGURES[f"{time}.{part}"].percentile is None for time in TIMES for part in PARTS)


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_unit_reads_what_it_prints(figure: Figure) -> None:
    for value in (0, 1, 0.5) if figure.unit is SHARE else (0, 1, 500):
        text = figure.unit.shown(value).replace(" ", "")
        assert figure.unit.parse(text.removesuffix("/s")) == value


def test_an_error_ratio_counts_what_failed_what_was_not_answered_and_what_was_not_sent() -> None:
    record = RUNS["open_loop"]()
    messages = Messages(intended=200, sent=190, replied=184, failed=2, unanswered=4, unsent=10, waited=0)
    assert read(msgspec.structs.replace(record, messages=messages), "error_ratio").value == 16 / 200


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("latency.p99", (None, None, None)),
        ("phase=a:b=c:errors", ("a:b=c", None, None)),
        ("target=12:errors", (None, 12, None)),
        ("get:latency.p99", (None, None, "get")),
    ],
)
def test_a_selector_names_a_part_of_the_run(text: str, parts: tuple[str | None, int | None, str | None]) -> None:
    selector = parse_selector(text)
    assert (selector.phase, selector.target, selector.label) == parts
