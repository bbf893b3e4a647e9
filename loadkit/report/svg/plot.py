"""A picture with its frame: the room for what is drawn, axes around it, labels, and what a screen reader says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement

from loadkit.report.svg.ink import filled, inked
from loadkit.report.svg.scale import Scale, Tick

__all__ = ["WIDTH", "Plot", "number"]

WIDTH = 600
_TEXT = 13  # size of letters, in the units of the picture
_LINE = 15  # from a label to the next below it: on a phone letters are larger (html_style.py)
_USUAL = "muted"


def number(value: float) -> str:
    """Returns a coordinate: a tenth of a unit is less than what can be seen."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def _write(into: Element, x: float, y: float, text: str, **attributes: str) -> None:
    place = {"x": number(x), "y": number(y)}
    SubElement(into, "text", {**attributes, **place}).text = text


class Plot:
    """A picture that is being drawn. `left`, `right`, `top` and `bottom` are the edges of the room inside the axes.

    `name` has to be another one for each picture of a page.
    """

    def __init__(
        self,
        name: str,
        title: str,
        says: str,
        height: int = 300,
        margins: tuple[int, int, int, int] = (38, 96, 40, 68),
        width: int = WIDTH,
    ) -> None:
        top, right, bottom, left = margins
        self.left, self.right, self.top, self.bottom = left, width - right, top, height - bottom
        self.width, self.height = width, height
        self.root = Element(
            "svg",
            {
                "viewBox": f"0 0 {width} {height}",
                "width": str(width),
                "height": str(height),
                "role": "img",
                "aria-labelledby": f"{name}-t {name}-d",
                "font-family": "system-ui, sans-serif",
                "font-size": str(_TEXT),
                "stroke-linecap": "round",
                "stroke-linejoin": "round",
                **filled(_USUAL),  # of texts: most of them have this colour
            },
        )
        SubElement(self.root, "title", {"id": f"{name}-t"}).text = title
        SubElement(self.root, "desc", {"id": f"{name}-d"}).text = says

    # -- the frame

    def across(self, scale: Scale, ticks: Iterable[Tick], what: str) -> None:
        """Draws the axis below: a line up for each tick, and below it its text; `what` says what the values are."""
        ticks = list(ticks)
        self._grid([f"M{number(scale.at(tick.value))} {self.top}V{self.bottom}" for tick in ticks])
        last, shown = -1000.0, []
        for tick in ticks:
            x, half = scale.at(tick.value), len(tick.text) * _TEXT * 0.31
            if x - half > last + 12:  # the next text begins where the last one has ended, on a phone too
                shown.append((x, tick.text))
                last = x + half
        self._below(shown, what)

    def across_columns(self, names: Sequence[tuple[float, str]], what: str) -> None:
        """Writes the names of columns below their middles, as many of them as there is room for."""
        widest = max((len(name) for _, name in names), default=0) * _TEXT * 0.6 + 6
        apart = (self.right - self.left) / max(1, len(names))
        self._below(names[:: max(1, math.ceil(widest / apart))], what)

    def _below(self, texts: Iterable[tuple[float, str]], what: str) -> None:
        group = self.group({"text-anchor": "middle"})
        for x, text in texts:
            _write(group, x, self.bottom + 16, text)
        _write(group, (self.left + self.right) / 2, self.bottom + 33, what)

    def upright(self, scale: Scale, ticks: Iterable[Tick], what: str = "") -> None:
        """Draws the axis at the left; `what` stands above it."""
        ticks = list(ticks)
        self._grid([f"M{self.left} {number(scale.at(tick.value))}H{self.right}" for tick in ticks])
        group = self.group({"text-anchor": "end"})
        for tick in ticks:
            _write(group, self.left - 6, scale.at(tick.value) + 4, tick.text)
        if what:
            self.label(2, 13, what, ink="muted")

    def _grid(self, lines: list[str]) -> None:
        if lines:
            self.path("".join(lines), inked("grid"))

    def columns(self, edges: Iterable[float]) -> None:
        """Says where the columns are whose numbers are in the table, for a script that shows those below a pointer."""
        self.root.set("data-columns", " ".join(f"{edge:.0f}" for edge in edges))

    # -- what is drawn

    def path(self, data: str, attributes: dict[str, str], says: str = "") -> Element:
        """Draws a path; `says` is shown while a pointer rests on it."""
        return self._titled(SubElement(self.root, "path", {"fill": "none", **attributes, "d": data}), says)

    def group(self, attributes: dict[str, str]) -> Element:
        """Returns a group, whose parts have these attributes."""
        return SubElement(self.root, "g", attributes)

    def boxes(self, boxes: Iterable[tuple[float, float, float, float]], ink: str) -> None:
        """Fills rectangles (x, y, width, height) of one colour."""
        data = "".join(
            f"M{number(x)} {number(y)}h{number(wide)}v{number(high)}h{number(-wide)}z" for x, y, wide, high in boxes
        )
        if data:
            self.path(data, filled(ink))

    def box(self, x: float, y: float, width: float, height: float, ink: str, says: str = "", **more: str) -> Element:
        """Fills a rectangle."""
        place = {"x": number(x), "y": number(y), "width": number(max(0.0, width)), "height": number(max(0.0, height))}
        return self._titled(SubElement(self.root, "rect", {**filled(ink), **more, **place}), says)

    def label(
        self, x: float, y: float, text: str, *, anchor: str = "start", ink: str = "text", bold: bool = False
    ) -> None:
        """Writes a text, whose baseline begins, has its middle or ends at a place."""
        attributes = {} if ink == _USUAL else filled(ink)
        if anchor != "start":
            attributes["text-anchor"] = anchor
        if bold:
            attributes["font-weight"] = "bold"
        _write(self.root, x, y, text, **attributes)

    def labels_beside(self, labels: Sequence[tuple[float, str, str]]) -> None:
        """Writes (height, text, ink) right of the room, each no nearer to the next than its letters are high."""
        last = float(self.top) - _LINE
        ordered = sorted(labels)
        for left, (y, text, ink) in zip(range(len(ordered), 0, -1), ordered, strict=True):
            # Those that come after this one need their room too.
            last = min(max(y + 4, last + _LINE), self.bottom - 1 - (left - 1) * _LINE)
            self.label(self.right + 5, last, text, ink=ink, bold=True)

    def _titled(self, element: Element, says: str) -> Element:
        if says:
            SubElement(element, "title").text = says
        return element
