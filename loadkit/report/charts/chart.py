"""A chart: a picture with everything that a reader needs who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from loadkit.report.page import Table
from loadkit.report.svg.plot import Plot

__all__ = ["Chart", "finished"]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture, what it is of, how it is read, and its numbers. A chart that cannot be drawn has none of the two.

    `name` is that of an element of the page. `says` then has the reason.
    """

    name: str
    title: str
    says: str
    picture: Element | None = None
    table: Table | None = None


def finished(chart: Chart, plot: Plot, table: Table) -> Chart:
    """Returns the chart with its picture and its table."""
    return replace(chart, picture=plot.root, table=table)
