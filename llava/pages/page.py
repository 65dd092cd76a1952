"""What a drawn page is: its pixels, everything that stands on it, and questions with exact answers.

Boxes are (x0, y0, x1, y1) in [0, 1] of the page, from its top left corner.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llava.pages.characters import character_classes
from llava.pages.print import Print

Box = tuple[float, float, float, float]
RGB = tuple[int, int, int]

FIGURES = ("circle", "square", "triangle", "diamond", "star", "ring", "cross", "hexagon")
"""Shapes that stand for themselves."""
SHAPES = (*FIGURES, "bar", "wedge", "point", "swatch")
"""Everything drawn that is not print; an index into it is a class of the dense loss."""
HUES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
COLORS = (*HUES, "black", "gray", "white")
"""Names of colors; an index into it is a class of the dense loss."""


def plural(shape: str) -> str:
    """The name of several of a shape."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One run of print, or one shape: either ``text`` or ``shape`` is empty."""

    text: str = ""
    shape: str = ""
    color: str
    """A name of ``COLORS``."""
    box: Box
    """Bounds of the ink; of a wedge, a square around its middle, because wedges' bounds overlap."""
    edges: tuple[float, ...] = ()
    """x of the borders between the characters, one more than there are characters."""
    base: float = 0.0
    """y of the baseline."""
    size: float = 0.0
    """Height of an em; 0 where it is not known."""
    row: str | None = None
    """Label of the row (in a chart: the series) that this belongs to; a row label belongs to its own row."""
    column: str | None = None
    """The same for the column (in a chart: the category)."""
    panel: str | None = None
    """Title of the chart that this belongs to."""
    label: bool = False
    """Whether this is the label that ``row`` or ``column`` names, however it is printed."""

    def words(self) -> Iterator[tuple[str, Box]]:
        """Each word of the run and its box, which an alignment loss names from the patches under it."""
        start = 0
        for word in self.text.split(" "):
            end = start + len(word)
            if word:
                yield word, (self.edges[start], self.box[1], self.edges[end], self.box[3])
            start = end + 1


@dataclass(frozen=True, kw_only=True)
class PageQuestion:
    """A question about a page, its one right answer, and where to look for it."""

    kind: str
    """What is asked: a key of the wordings."""
    question: str
    answer: str
    answer_boxes: tuple[Box, ...]
    """What the answer is read from: one box, or one for each counted figure, compared value or row and column; none
    where it is seen from the page as a whole."""
    evidence: tuple[Box, ...]
    """The labels, legend entries or figures that the question names; empty where it names none."""

    @property
    def answer_box(self) -> Box:
        """The smallest box that holds all answer boxes; the page where there is none."""
        if not self.answer_boxes:
            return 0.0, 0.0, 1.0, 1.0
        x0, y0, x1, y1 = zip(*self.answer_boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page. ``image`` is RGB, ``paper`` its background before noise."""

    image: Image.Image
    paper: RGB
    questions: tuple[PageQuestion, ...]
    marks: tuple[Mark, ...]
    """Everything drawn, in the order of drawing; within a line of print, from left to right."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What differs from page to page, for reports: the name of each trait and which of its values this page has."""

    def print(self) -> tuple[Print, NDArray[np.int64], NDArray[np.int64]]:
        """The print of all marks, in pixels; and of each character, its mark and its place in the mark's text."""
        width, height = self.image.size
        parts, owners, places = [], [], []
        for index, mark in enumerate(self.marks):
            if not mark.text or not mark.size:
                continue
            kept = np.array([place for place, character in enumerate(mark.text) if character != " "], dtype=np.int64)
            edges = np.array(mark.edges) * width
            parts.append(
                Print(
                    classes=character_classes(mark.text)[kept],
                    left=edges[kept],
                    right=edges[kept + 1],
                    base=np.full(len(kept), mark.base * height),
                    size=np.full(len(kept), mark.size * height),
                    word=np.cumsum(np.diff(kept, prepend=kept[:1]) > 1),
                )
            )
            owners.append(np.full(len(kept), index))
            places.append(kept)
        none = np.zeros(0, dtype=np.int64)
        return Print.join(parts), np.concatenate([none, *owners]), np.concatenate([none, *places])
