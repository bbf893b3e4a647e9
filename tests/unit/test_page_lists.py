"""What the pages list is what there is: profiles, an SLO's figures, a record's fields, the line for a wrong target."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

import msgspec
import pytest

from loadkit.measure.names import TIMES
from loadkit.profile.read import shipped_profiles
from loadkit.report.figures import FIGURES, PARTS
from loadkit.report.record import VERSION, RunRecord
from loadkit.report.slo import parse_slo
from loadkit.wire.recognise import guess, show
from tests.pages import chapter


def fields_named(text: str) -> list[str]:
    """Returns the paths in the first column of the table; one that begins with a dot is beside the one before it."""
    paths = []
    for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE):
        place = ""
        for path in re.findall(r"`([a-z_.\[\]]+)`", row):
            paths.append(f"{place}{path}" if path.startswith(".") else path)
            place = paths[-1].rpartition(".")[0]
    return paths


def has_field(struct: type, path: str) -> bool:
    """Whether a record has a value at a path such as `workers[].standstills`."""
    name, _, rest = path.partition(".")
    hints = get_type_hints(struct)
    if name.removesuffix("[]") not in hints:
        return False
    if not rest:
        return True
    if name == "histograms":
        return rest in TIMES
    hint = hints[name.removesuffix("[]")]
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return any(has_field(kind, rest) for kind in kinds)


_PROFILES = chapter("profiles", "The shipped scenarios")


def test_the_profiles_are_those_that_are_shipped() -> None:
    [listed] = re.findall(r"lists the shipped scenarios \((.*?)\)", _PROFILES, re.DOTALL)
    assert sorted(re.split(r",\s+", listed)) == sorted(shipped_profiles())
    rows = re.findall(r"^\| (`.*?) \|", _PROFILES, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(.*?)`", row)) == sorted(shipped_profiles())


@pytest.mark.parametrize("path", fields_named(chapter("report", "A record")))
def test_a_record_has_each_field_of_the_table(path: str) -> None:
    assert has_field(RunRecord, path)


def test_the_table_of_fields_is_found_and_one_that_is_not_there_is_seen() -> None:
    assert {"window.replied", "workers[].standstill_ns", "histograms.held", "kernel.ramp", "run.of"} <= set(
        fields_named(chapter("report", "A record"))
    )
    missing = ("window.hopes", "histograms.hold", "messages.held", "workers.standstills.longest")
    assert not any(has_field(RunRecord, path) for path in missing)
    assert f"The format is version {VERSION}." in chapter("report", "A record")


def test_the_figures_of_an_objective_are_all_there() -> None:
    times, *others = re.findall(r"^- (.*?)[;.]$", chapter("report", "SLOs"), re.MULTILINE | re.DOTALL)
    assert re.findall(r"`([a-z_]+)`", times) == list(TIMES)
    assert re.findall(r"`\.([a-z]+)`", times) == sorted(PARTS, key=["min", "mean", "max"].index)
    listed = {name for text in others for name in re.findall(r"`([a-z_]+)`", text)}
    assert listed == {name for name, figure in FIGURES.items() if figure.time is None}
    assert {figure.time for figure in FIGURES.values() if figure.time} == set(TIMES)


@pytest.mark.parametrize("expr", re.findall(r"`([a-z=:_.0-9]+<[0-9]+(?:ms|%))`", chapter("report", "SLOs")))
def test_each_objective_of_the_chapter_is_one(expr: str) -> None:
    parse_slo(expr)


def test_a_wrong_target_is_reported_in_these_words() -> None:
    came = b"-ERR unknown command\r\n"
    assert f"replied `{show(came)}` to an echo message: {guess(came)};" in chapter("commands", "Targets")
