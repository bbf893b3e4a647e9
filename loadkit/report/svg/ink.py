"""Colours by name, for light and dark pages: attributes for what is drawn, and the style rules that go with them.

Text and lines have a contrast of at least 4.5 to their page in both (WCAG 2.2, 1.4.3); a test counts it. Series are
told apart by dashes and labels too.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HEAT", "INKS", "Ink", "filled", "inked", "rules", "variables"]


class Ink(NamedTuple):
    """A colour on a light page and on a dark one, as #rrggbb."""

    light: str
    dark: str


# Shares of a column of a heat map, from few to nearly all.
HEAT = tuple(f"heat{level}" for level in range(1, 8))
_HEAT = (
    Ink("#dcebfa", "#10263d"),
    Ink("#b5d3f1", "#153a5f"),
    Ink("#87b7e5", "#1c5288"),
    Ink("#5697d3", "#2b6fb0"),
    Ink("#2f76b8", "#4f93d3"),
    Ink("#145593", "#8bbcea"),
    Ink("#07346a", "#d6e8fb"),
)
INKS: dict[str, Ink] = {
    "page": Ink("#ffffff", "#0f1419"),
    "panel": Ink("#f4f6f8", "#1a2028"),
    "grid": Ink("#d8dee4", "#333b45"),
    "text": Ink("#1b1f24", "#e6edf3"),
    "muted": Ink("#535c66", "#a3adb8"),
    "good": Ink("#116329", "#56d364"),
    "warn": Ink("#7d4e00", "#e3b341"),
    "bad": Ink("#a40e26", "#ff8f86"),
    "one": Ink("#0b5cad", "#79b8ff"),
    "two": Ink("#b42318", "#ff9a8f"),
    "three": Ink("#0a6b5e", "#5fd4c0"),
    "four": Ink("#6a3fb5", "#c4a7ff"),
    "band": Ink("#cfe2f6", "#1d3f63"),
    **dict(zip(HEAT, _HEAT, strict=True)),
}


def inked(ink: str) -> dict[str, str]:
    """Returns the attributes of a line in this colour."""
    return {"class": f"s-{ink}", "stroke": INKS[ink].light}


def filled(ink: str) -> dict[str, str]:
    """Returns the attributes of a text or an area in this colour."""
    return {"class": f"f-{ink}", "fill": INKS[ink].light}


def variables(is_dark: bool = False) -> str:
    """Returns the colours as CSS variables, for a rule about the whole page."""
    return "".join(f"--{name}:{ink.dark if is_dark else ink.light};" for name, ink in INKS.items())


def rules() -> str:
    """Returns the rules that let the variables decide what `inked` and `filled` have drawn."""
    return "".join(f".s-{name}{{stroke:var(--{name})}}.f-{name}{{fill:var(--{name})}}" for name in INKS)
