"""What a view is made of, tables and plots, and how it shows numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Cell = str | int | float | None
"""Of a table: text, a number, or None for what is not known."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        caption: What it shows.
        head: Headings of the columns.
        rows: As many cells each.
        left_out: Rows that it does not show.
        rest_in: File in the results folder that has them all.
        predicted: Whether none of it was measured.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int = 0
    rest_in: str = "metrics.json"
    predicted: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only: they stand right."""
        return [
            bool(self.rows) and all(isinstance(row[column], int | float | None) for row in self.rows)
            for column in range(len(self.head))
        ]


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    limit: int | None = None,
    rest_in: str = "metrics.json",
    predicted: bool = False,
) -> Table:
    """Return a table of the first ``limit`` rows."""
    cells = [tuple(row) for row in rows]
    shown = tuple(cells[:limit])
    return Table(caption, tuple(head), shown, len(cells) - len(shown), rest_in, predicted)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its heading; ``svg`` is markup."""

    title: str
    svg: str


def number(value: float | int | None, unit: str = "", digits: int = 4) -> str:
    """Return a number for people, with so many significant digits; "not known" for None."""
    if value is None:
        return "not known"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"
    if "e" in shown:
        shown = f"{value:,.0f}" if abs(value) >= 1 else f"{value:.6f}"
    return f"{shown}{unit}"


def dollars(value: float | None) -> str:
    """Return an amount of dollars, with two digits more than cents where it is small."""
    if value is None:
        return "not known"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def cell(value: Cell) -> str:
    """Return what stands in a cell of a table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else number(value)
