"""Colours can be told from the page they stand on, in light and in dark."""

from __future__ import annotations

import itertools

import pytest

from loadkit.report.svg.ink import HEAT, INKS, filled, inked, rules, variables

# WCAG 2.2, 1.4.3: 4.5 for text. Ours holds lines to the same.
_LEAST = 4.5
_BACKGROUNDS = ("page", "panel", "band")
_DECORATION = (*_BACKGROUNDS, "grid", *HEAT)


def _luminance(colour: str) -> float:
    """The relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_arithmetic_of_contrast() -> None:
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("background", _BACKGROUNDS)
@pytest.mark.parametrize("name", [name for name in INKS if name not in _DECORATION])
def test_text_and_lines_can_be_told_from_the_page(name: str, background: str) -> None:
    ink, page = INKS[name], INKS[background]
    assert _contrast(ink.light, page.light) >= _LEAST
    assert _contrast(ink.dark, page.dark) >= _LEAST


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_colours_of_a_heat_map_go_one_way_and_all_can_be_told_apart(is_dark: bool) -> None:
    colours = [INKS[name].dark if is_dark else INKS[name].light for name in ("page", *HEAT)]
    steps = [_contrast(one, other) for one, other in itertools.pairwise(colours)]
    assert min(steps) > 1.15
    assert sorted(map(_luminance, colours), reverse=not is_dark) == [_luminance(one) for one in colours]


def test_each_colour_is_an_attribute_a_variable_and_a_rule() -> None:
    for name, ink in INKS.items():
        assert inked(name) == {"class": f"s-{name}", "stroke": ink.light}
        assert filled(name) == {"class": f"f-{name}", "fill": ink.light}
        assert f"--{name}:{ink.dark};" in variables(is_dark=True)
        assert f".s-{name}{{stroke:var(--{name})}}" in rules()
