"""The page in a real browser: by day and night, on paper, on a phone, without scripts, and where styles are refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadkit.report.packing import unpacked
from loadkit.report.svg.ink import INKS
from tests.browser.chromium import Tab
from tests.browser.conftest import Serve
from tests.pictured import PICTURED

pytestmark = pytest.mark.slow

# What Jenkins sends with what a build has made.
JENKINS = {"Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self'; style-src 'self'"}
WAYS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "paper": {"paper": True},
    "phone": {"width": 400, "height": 800},
    "phone, dark": {"width": 400, "height": 800, "dark": True},
    "no script": {"script": False},
}

# Text with its colour and that of what it stands on: the nearest background that is not see-through.
_TEXTS = """
(() => { const said = [], rgb = text => text.match(/[0-9.]+/g).map(Number);
for (const one of document.querySelectorAll("h1,h2,h3,p,li,th,td,dt,dd,summary,code,b,footer,svg text")) {
  const box = one.getBoundingClientRect(), text = [...one.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  if (!text || !box.width || !one.checkVisibility()) continue;
  const style = getComputedStyle(one), ink = rgb(one instanceof SVGElement ? style.fill : style.color);
  let on = [255, 255, 255];
  for (let up = one; up; up = up.parentElement) {
    const back = rgb(getComputedStyle(up).backgroundColor);
    if (back.length < 4 || back[3] > 0) { on = back; break; }
  }
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const [a, b] = [light(ink), light(on)].sort((x, y) => y - x);
  said.push([one.textContent.slice(0, 40), (a + 0.05) / (b + 0.05)]);
} return said; })()
"""
# The colour that each kind of line and area is drawn in.
_INKS = """
[...document.querySelectorAll("svg[class], svg [class]")].map(one => { const name = one.getAttribute("class");
return ["." + name, getComputedStyle(one)[name[0] == "s" ? "stroke" : "fill"]]; })
"""
_PICTURES = """
[...document.querySelectorAll("svg")].map(svg => { const box = svg.getBoundingClientRect();
return {name: svg.parentNode.id, x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}; })
"""
# Of each box of an image: how many colours it has, and how much of it is not the colour of its corner.
_COLOURS = """
(async () => { const image = new Image(); image.src = "data:image/png;base64,%s"; await image.decode();
const canvas = new OffscreenCanvas(image.width, image.height);
const context = canvas.getContext("2d", {willReadFrequently: true});
context.drawImage(image, 0, 0);
return %s.map(box => { const data = context.getImageData(box.x, box.y, box.width, box.height).data;
  const words = new Uint32Array(data.buffer), counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) || 0) + 1);
  return [counts.size, 1 - counts.get(words[0]) / words.length]; }); })()
"""


def _assert_opens_well(path: Path, eye: Tab, tab: Tab) -> None:
    tab.open(path.as_uri())
    _assert_fits(tab)
    _assert_legible(tab)
    _assert_drawn(eye, tab, _charts(path))
    assert tab.requested() == [path.as_uri()]
    assert tab.complaints() == []


def _assert_fits(tab: Tab) -> None:
    """Nothing is wider than the window, and so nothing has to be moved aside to be read."""
    assert tab.value("document.documentElement.scrollWidth") <= tab.value("innerWidth")


def _assert_legible(tab: Tab) -> None:
    texts = tab.value(_TEXTS)
    assert len(texts) > 20
    assert [text for text in texts if text[1] < 4.5] == []


def _assert_drawn(eye: Tab, tab: Tab, names: set[str]) -> None:
    """Each chart is there, has a size, and shows more than its frame; `eye` is a page that looks at the picture."""
    pictures = tab.value(_PICTURES)
    assert {one["name"] for one in pictures} == names
    image = base64.b64encode(tab.picture()).decode()
    seen = eye.value(_COLOURS % (image, json.dumps(pictures)))
    for box, (colours, covered) in zip(pictures, seen, strict=True):
        assert box["width"] >= 300, box
        assert box["height"] >= 70, box
        assert colours > 8, (box, colours)
        assert 0.01 < covered < 0.99, (box, covered)


def _drawn_inks(path: Path) -> set[tuple[str, str]]:
    """The lines (s) and areas (f) of the pictures, by the names of their colours."""
    return set(re.findall(r'<(?:path|rect|text|svg)[^>]* class="(s|f)-(\w+)"', path.read_text()))


def _rgb(ink: str) -> str:
    red, green, blue = bytes.fromhex(INKS[ink].light[1:])
    return f"rgb({red}, {green}, {blue})"


def _charts(path: Path) -> set[str]:
    text = path.read_text()
    return {
        part.partition('"')[0] for part in text.split('<figure id="')[1:] if "<svg" in part.partition("</figure>")[0]
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["minute", "journey"])
def test_a_page_is_read_however_it_is_looked_at(
    name: str, way: str, eye: Tab, tab: Tab, written: Callable[[str], Path]
) -> None:
    path = written(name)
    tab.show(**WAYS[way])
    _assert_opens_well(path, eye, tab)


@pytest.mark.parametrize("name", [name for name in PICTURED if name not in ("minute", "journey")])
def test_a_page_of_any_run_is_drawn_on_a_phone(name: str, eye: Tab, tab: Tab, written: Callable[[str], Path]) -> None:
    path = written(name)
    tab.show(width=400, height=800)
    _assert_opens_well(path, eye, tab)


def test_the_page_is_dark_if_the_reader_prefers_it(tab: Tab, written: Callable[[str], Path]) -> None:
    brightness = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('.s-one')).stroke"
    seen = []
    for dark in (False, True):
        tab.show(dark=dark)
        tab.open(written("minute").as_uri())
        seen.append((tab.value(brightness), tab.value(line)))
    assert seen == [("rgb(255, 255, 255)", "rgb(11, 92, 173)"), ("rgb(15, 20, 25)", "rgb(121, 184, 255)")]


def test_on_paper_the_page_is_light_and_every_table_is_open(tab: Tab, written: Callable[[str], Path]) -> None:
    tab.show(paper=True, dark=True)
    tab.open(written("minute").as_uri())
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        tab.value("[...document.querySelectorAll('table')].filter(t => !t.getBoundingClientRect().height).length") == 0
    )
    assert tab.printed().startswith(b"%PDF")


def test_on_paper_no_table_is_cut_off_and_the_folded_ones_have_their_titles(
    tab: Tab, written: Callable[[str], Path]
) -> None:
    tab.show(width=700, paper=True)  # a sheet of A4 without its margins
    tab.open(written("minute").as_uri())
    # What scrolls is not broken where a sheet ends: it ends there.
    found = tab.value(
        "[...document.querySelectorAll('.scroll')].map(s => [getComputedStyle(s).overflow,"
        " s.scrollWidth <= s.clientWidth, s.scrollHeight <= s.clientHeight])"
    )
    assert len(found) > 10
    assert set(map(tuple, found)) == {("visible", True, True)}
    titles = "[...document.querySelectorAll('main > section > details > summary')].map(s => s.checkVisibility())"
    assert set(tab.value(titles)) == {True}


def test_where_styles_and_scripts_are_refused_the_page_is_read_all_the_same(
    eye: Tab, tab: Tab, written: Callable[[str], Path], served: Serve
) -> None:
    path = written("minute")
    url = served(path, JENKINS)
    for dark in (False, True):
        tab.show(dark=dark)
        tab.open(url)
        # They are refused indeed: without its rule a list of boxes is no grid.
        assert tab.value("getComputedStyle(document.querySelector('.glance')).display") == "block"
        _assert_fits(tab)
        _assert_legible(tab)
        _assert_drawn(eye, tab, _charts(path))
        assert tab.value("document.querySelectorAll('output').length") == 0
        assert dict(tab.value(_INKS)) == {f".{kind}-{name}": _rgb(name) for kind, name in _drawn_inks(path)}
    assert {one for one in tab.requested() if not one.endswith("/favicon.ico")} == {url}


def test_a_pointer_over_a_column_is_told_its_numbers(tab: Tab, written: Callable[[str], Path]) -> None:
    tab.show()
    tab.open(written("minute").as_uri())
    middle = tab.value(
        "(() => { const svg = document.querySelector('#heat svg'); svg.scrollIntoView();"
        "const box = svg.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=middle[0], y=middle[1])
    said = tab.value("document.querySelector('#heat output').textContent")
    assert said.startswith("from ")
    assert " p99 " in said
    rows = tab.value("[...document.querySelectorAll('#heat tbody tr')].map(r => r.cells[0].textContent)")
    assert said.split(" \u00b7 ")[0].removeprefix("from ") in rows


def test_the_browser_reads_the_same_record_that_was_written(tab: Tab, written: Callable[[str], Path]) -> None:
    tab.show(script=False)
    tab.open(written("awkward").as_uri())
    text = tab.value("document.getElementById('loadkit-record').textContent")
    assert json.loads(unpacked(text.encode(), 2**20))["format"] == "loadkit-record"
    assert tab.value("document.title").startswith("loadkit: ho|ld \\\\|") or "ho|ld" in tab.value("document.title")
