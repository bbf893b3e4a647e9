"""The page of a run: valid HTML that loads nothing, in the order that a reader needs, with the record inside."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import html5lib
import msgspec
import pytest

from loadkit.errors import RecordError
from loadkit.report.as_html import as_html
from loadkit.report.html_style import SCRIPT
from loadkit.report.merge import merge_records
from loadkit.report.page import DEFAULT, Layout
from loadkit.report.reading import load
from loadkit.report.record import Advised, RunRecord
from loadkit.report.serve import ServeRecord, load_serve
from loadkit.report.writing import encode
from tests.golden.made_up import RUNS, again
from tests.hostile.records import served
from tests.hostile.texts import TEXTS
from tests.pictured import PICTURED

# An hour is a minute ten times over, and takes as long to read; a disturbed minute has more in it.
_EACH = [name for name in PICTURED if name not in ("hour", "disturbed")]
_HOSTILE = "</script><!-- <script>alert(1)</script> \"' onload=x & ]]> javascript:"


@functools.cache
def page(name: str) -> str:
    return as_html(PICTURED[name]())


def tree(text: str) -> Any:
    """The page as a browser reads it; raises on the first thing that is not valid."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


@pytest.mark.parametrize("name", _EACH)
def test_a_page_is_valid(name: str) -> None:
    root = tree(page(name))
    assert root.get("lang") == "en"
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names))
    referred = [one for element in root.iter() for one in (element.get("aria-labelledby") or "").split()]
    assert set(referred) <= set(names)


@pytest.mark.parametrize("name", ["minute", "awkward", "journey"])
def test_a_page_loads_nothing_and_links_to_nothing(name: str) -> None:
    root = tree(page(name))
    for element in root.iter():
        assert not {"src", "href", "xlink:href", "srcset", "style", "action", "data"} & set(element.attrib), element.tag
        assert not [attribute for attribute in element.attrib if attribute.startswith("on")]
    without = re.sub(r"<script type.*?</script>", "", page(name))
    assert len(without) < len(page(name))
    assert not re.search(r"https?:|url\(|@import|//[a-z]", without)


def test_what_runs_is_named_by_its_hash_and_small() -> None:
    root = tree(page("minute"))
    [policy] = [
        meta.get("content") for meta in root.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    scripts = [element.text for element in root.iter("script") if not element.get("type")]
    styles = [element.text for element in root.iter("style")]
    assert scripts == [SCRIPT]
    for text in (*scripts, *styles):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert len(SCRIPT.encode()) <= 3 * 1024


def test_a_page_goes_from_the_verdict_to_what_few_look_up() -> None:
    text = words(tree(page("minute")).find("body"))
    places = [
        text.index(word)
        for word in (
            "valid: ",
            "Objectives",
            "At a glance",
            "Percentile spectrum",
            "Latency over time",
            "Replies per second",
            "Distributions",
            "Findings and errors",
            "Load, and where each value came from",
            "Placement",
            "Host",
            "Workers",
        )
    ]
    assert places == sorted(places)


def test_objectives_say_how_far_they_are_from_their_bounds() -> None:
    text = words(tree(page("minute")).find("body"))
    assert re.search(r"latency\.p99<5ms met [0-9.]+ [um]s [0-9.]+ % below", text)
    assert re.search(r"latency\.p99\.9<2ms missed [0-9.]+ [um]s [0-9.]+ % above", text)


def _from_page(record: RunRecord, folder: Path, layout: Layout = DEFAULT) -> RunRecord:
    (folder / "run.html").write_text(as_html(record, layout), encoding="utf-8")
    return load(str(folder / "run.html"))


def _from_record(record: RunRecord, folder: Path) -> RunRecord:
    (folder / "run.json").write_text(encode(record), encoding="utf-8")
    return load(str(folder / "run.json"))


@pytest.mark.parametrize("name", [*_EACH, "disturbed"])
def test_a_page_is_its_record(name: str, tmp_path: Path) -> None:
    record = PICTURED[name]()
    assert _from_page(record, tmp_path) == _from_record(record, tmp_path)


def test_a_merged_record_has_a_page_too(tmp_path: Path) -> None:
    record = PICTURED["minute"]()
    both = merge_records([record, again(record)])
    assert _from_page(both, tmp_path) == _from_record(both, tmp_path)
    assert "in 2 runs" in words(tree(as_html(both)))


def test_a_serve_end_has_a_page_that_is_its_record(tmp_path: Path) -> None:
    (tmp_path / "serve.json").write_text(json.dumps(served()))
    record = load_serve(str(tmp_path / "serve.json"))
    assert isinstance(record, ServeRecord)
    (tmp_path / "serve.html").write_text(as_html(record))
    assert load_serve(str(tmp_path / "serve.html")) == record
    assert "served 100 connections" in words(tree(as_html(record)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "<!DOCTYPE html><p>a page", "a page without a record in it; `loadkit blast -o run.html`", id="other"
        ),
        pytest.param("<html>", "damaged, or not a record", id="no page of ours"),
    ],
)
def test_another_page_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text(text)
    with pytest.raises(RecordError, match=re.escape(says)):
        load(str(path))


def _hostile(text: str) -> RunRecord:
    record = RUNS["saturated"]()
    errors = tuple(msgspec.structs.replace(row, advice=text, step=text) for row in record.errors)
    phases = tuple(msgspec.structs.replace(phase, name=f"{text}{at}") for at, phase in enumerate(record.load.phases))
    named = tuple(msgspec.structs.replace(one, name=f"{text}{at}") for at, one in enumerate(record.phases))
    load_ = msgspec.structs.replace(record.load, phases=phases)
    target = msgspec.structs.replace(record.target, host=text)
    more = Advised(text, text, text, 1, text)
    host = {**record.host, text: text}
    return msgspec.structs.replace(
        record, errors=(*errors, more), load=load_, phases=named, target=target, host=host, tags={"a": text}
    )


@pytest.mark.parametrize("text", [_HOSTILE, *TEXTS], ids=range(1 + len(TEXTS)))
def test_a_hostile_text_stays_text_wherever_it_stands(text: str, tmp_path: Path) -> None:
    record = _hostile(text)
    plain = tree(as_html(_hostile("x"), Layout(title="x")))
    root = tree(as_html(record, Layout(title=text)))
    # The same elements with the same attributes as with a text that means nothing, whatever the text.
    assert _tags(root) == _tags(plain)
    assert _from_page(record, tmp_path, Layout(title=text)) == _from_record(record, tmp_path)


def _tags(root: Any) -> list[tuple[str, list[str]]]:
    """The elements with the names of their attributes; what stands between backticks is code, whatever it is."""
    return [(one.tag, sorted(one.attrib)) for one in root.iter() if one.tag != "code"]


def test_percentiles_and_the_title_are_the_readers() -> None:
    root = tree(as_html(PICTURED["minute"](), Layout("Monday <b>", ("50", "99.5"))))
    assert words(root.find("body/header/h1")) == "Monday <b>"
    heads = [words(head) for head in root.iter("th")]
    assert "p99.5" in heads
    assert "p99.99" not in next(words(head) for head in root.iter("thead"))


@pytest.mark.parametrize(("name", "most_bytes"), [("minute", 100_000), ("disturbed", 150_000), ("hour", 750_000)])
def test_a_page_is_small_with_the_record_inside(name: str, most_bytes: int) -> None:
    assert len(page(name).encode()) <= most_bytes


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["blast", "--help"], ["report", "run.json", "-o", "again.json"]])
def test_nothing_of_a_page_is_imported_unless_it_is_asked_for(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(encode(RUNS["open_loop"]()))
    code = (
        "import atexit, runpy, sys\n"
        "OURS = tuple(f'loadkit.report.{name}' for name in ('svg', 'charts', 'html', 'as_html', 'glance'))\n"
        "atexit.register(lambda: print([m for m in sys.modules if m.startswith(OURS)], file=sys.stderr))\n"
        "runpy.run_module('loadkit', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_rate_of_0_is_one_that_was_requested() -> None:
    text = as_html(PICTURED["idle"]())
    assert "of 0/s requested" in text
    assert "closed loop" not in text
