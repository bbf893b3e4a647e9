"""A document of HTML as a tree of the standard library's elements: no text in it can become markup.

What stands in a text is escaped when the tree is written. `<`, `>`, `&` and quotes of a record reach a reader as they
are; what cannot be seen is written out by the last step of a page (printable.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from loadkit.printable import page as printable_page

__all__ = ["Child", "element", "quoted", "written"]

Child = Element | str | None

# Ours, in the texts of reasons and advice: `loadkit doctor -c 100`.
_QUOTED = re.compile(r"`([^`]+)`")
# What the standard lets an author leave out (HTML, 13.1.2.4): a tenth of a page of tables.
_OPTIONAL = re.compile(r"</(?:td|th|tr|thead|tbody|li|dt|dd)>")
# In SVG an element that is empty may end where it begins.
_EMPTY = re.compile(r"(<(path|rect) [^<>]*)></\2>")
# A line of the file for each: whoever reads a difference between two pages reads these.
_LINES = re.compile(
    r"(?=<(?:section|figure|figcaption|details|summary|table|tr|li|div|h2|h3|p|svg|path|main|header|footer)[ >])"
)


def element(tag: str, *children: Child | Iterable[Child], **attributes: str) -> Element:
    """Returns an element; a text that is a child becomes text. `_` in the name of an attribute is a dash.

    A word of Python ends in a dash that is left out: `class_`.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for child in children:
        for one in (child,) if child is None or isinstance(child, str | Element) else child:
            _add(made, one)
    return made


def quoted(text: str) -> list[Child]:
    """Returns a text whose parts between backticks are code."""
    parts = _QUOTED.split(text)
    return [element("code", part) if at % 2 else part for at, part in enumerate(parts)]


def written(root: Element) -> str:
    """Returns the tree as text of HTML, with nothing in it that a terminal or a CI runner obeys."""
    text = _OPTIONAL.sub("", _EMPTY.sub(r"\1/>", tostring(root, encoding="unicode", method="html")))
    return printable_page(_LINES.sub("\n", text))


def _add(parent: Element, child: Child) -> None:
    if isinstance(child, Element):
        parent.append(child)
    elif child and len(parent):
        parent[-1].tail = (parent[-1].tail or "") + child
    elif child:
        parent.text = (parent.text or "") + child
