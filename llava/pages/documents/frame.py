"""The free part of a sheet, which parts of a document take from the top, and what they leave on it."""

from dataclasses import dataclass, field

import numpy as np

from llava.pages.page import Box
from llava.pages.print_sheet import PrintSheet
from llava.pages.theme import Theme
from llava.pages.typesetting import Type


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Words and where they stand."""

    words: str
    box: Box


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name and its value, in a form or in a sentence."""

    name: Printed
    value: Printed
    label: str
    """The name as questions use it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A printed table; ``cells[row][column]`` leaves out the first column, which holds the names of the rows."""

    columns: list[Printed]
    rows: list[Printed] = field(default_factory=list)
    cells: list[list[Printed]] = field(default_factory=list)
    totals: dict[int, Printed] = field(default_factory=dict)
    """Sums by column."""
    values: dict[int, list[float]] = field(default_factory=dict)
    """The numbers of columns that hold some."""


@dataclass(kw_only=True)
class Frame:
    """A rectangle in pixels; its upper end moves down as it is filled."""

    sheet: PrintSheet
    rng: np.random.Generator
    left: float
    top: float
    right: float
    bottom: float

    @property
    def theme(self) -> Theme:
        return self.sheet.theme

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def line(self) -> float:
        """Distance of baselines in pixels."""
        return self.theme.line

    @property
    def lines(self) -> int:
        """How many lines are free."""
        return max(0, int((self.bottom - self.top) // self.line))

    def face(self, *, strong: bool = False, scale: float = 1.0) -> Type:
        """The page's type."""
        return self.sheet.face(self.theme.size * scale, strong=strong)

    def skip(self, lines: float) -> None:
        """Leave room."""
        self.top += lines * self.line

    def columns(self, count: int, gap: float) -> list["Frame"]:
        """Frames side by side over what is free."""
        wide = (self.width - gap * (count - 1)) / count
        lefts = [self.left + number * (wide + gap) for number in range(count)]
        return [
            Frame(sheet=self.sheet, rng=self.rng, left=left, top=self.top, right=left + wide, bottom=self.bottom)
            for left in lefts
        ]
