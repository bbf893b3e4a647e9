"""Tables of the benches: Markdown that reads as a table on a terminal too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Table", "asked"]


class Table:
    """A table that is printed row by row, while it is measured."""

    def __init__(self, caption: str, columns: Mapping[str, int]) -> None:
        """Prints the caption and the head: `columns` are titles with their least widths; the first one is text."""
        self._widths = [max(width, len(title), 4) for title, width in columns.items()]
        print(f"\n{caption}\n", flush=True)
        self.row(*columns)
        rules = [":" + "-" * (self._widths[0] - 1), *("-" * (width - 1) + ":" for width in self._widths[1:])]
        print(f"| {' | '.join(rules)} |", flush=True)

    def row(self, *cells: str) -> None:
        """Prints a row; cells that are missing at its end are empty."""
        texts = [*cells, *[""] * (len(self._widths) - len(cells))]
        first = f"{texts[0]:<{self._widths[0]}}"
        rest = [f"{text:>{width}}" for text, width in zip(texts[1:], self._widths[1:], strict=True)]
        print(f"| {' | '.join([first, *rest])} |", flush=True)


def asked(least: float, figures: Sequence[float], median: float) -> tuple[str, ...]:
    """Returns the cells of a ratio: median, least, most, and whether it is what is asked (0: nothing is)."""
    verdict = f"{least:g}: {'ok' if median >= least else 'MISSED'}" if least else ""
    return f"{median:.2f}", f"{min(figures):.2f}", f"{max(figures):.2f}", verdict
