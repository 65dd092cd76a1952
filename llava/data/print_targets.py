"""What a tower is asked to read in every patch: the characters whose middles fall into each of its slots.

A patch is cut into ``SLOTS`` upright slots, and each names one character or none, so that a line of print is a row of
slots, read from left to right. Where exactly a middle lies is not to be told from a picture to the last pixel, so a
character may be named one slot further on either side. A line near the border of two rows of patches may be read in
either: the further row is asked nothing there, and so is what is cut by the picture's edge.

Axis names: rows, columns (of patches), across (slots of a row), characters, most (characters of a row).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llava.pages.characters import CHARACTERS, NONE
from llava.pages.print import Print

SLOTS = 4
NOTHING = len(CHARACTERS)
"""Class of a slot in which no character has its middle."""
_EITHER = 0.17
"""Lines this near to a row's border, in patches, may be read on both sides."""
_LEAST_SIZE = 6.0
"""Print of fewer pixels to the em cannot be read, so it is not asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PrintTargets:
    """The characters of every row of patches in their order, and about where each is to be named."""

    classes: NDArray[np.int64]
    """(rows, most); ``NONE`` behind the last. ``most`` is as many as a row has slots."""
    places: NDArray[np.float32]
    """(rows, most), ascending by at least 1: the middle of slot k lies at k + 0.5; 0 behind the last."""
    asked: NDArray[np.bool_]
    """(rows, across): False where nothing is asked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Where each character is read."""

    place: NDArray[np.float64]
    """(characters,) along its row of slots: the middle of slot k lies at k + 0.5, no two of a row closer than 1."""
    row: NDArray[np.int64]
    """(characters,) of patches."""
    either: NDArray[np.int64]
    """(characters,) the other row that may read it, or ``NONE``."""
    whole: NDArray[np.bool_]
    """(characters,): not cut by the picture's edge, large enough, and of a known class."""


def place_characters(print_: Print, width: int, height: int, patch: int) -> Placed:
    """Where the characters on a picture of ``width`` x ``height`` pixels are read."""
    x, y = print_.middle.T
    x0, y0, x1, y1 = print_.boxes.T
    row = np.floor(y / patch).astype(np.int64)
    inside = y / patch - row
    either = np.where(inside < _EITHER, row - 1, np.where(inside > 1 - _EITHER, row + 1, NONE))
    whole = (x0 >= -0.5) & (x1 <= width + 0.5) & (y0 >= -0.5) & (y1 <= height + 0.5)
    whole &= (print_.classes != NONE) & (print_.size >= _LEAST_SIZE)
    place = x * SLOTS / patch
    for line in np.unique(row):
        members = np.flatnonzero(row == line)
        members = members[np.argsort(place[members], kind="stable")]
        place[members] = _spread(place[members])
    return Placed(place=place, row=row, either=either, whole=whole)


def print_targets(print_: Print, width: int, height: int, patch: int) -> PrintTargets:
    """The targets of a picture that ``patch`` pixels tile."""
    rows, across = height // patch, width // patch * SLOTS
    classes = np.full((rows, across), NONE, dtype=np.int64)
    places = np.zeros((rows, across), dtype=np.float32)
    asked = np.ones((rows, across), dtype=np.bool_)
    placed = place_characters(print_, width, height, patch)
    _leave_out(asked, print_, placed, patch)
    slot = np.floor(placed.place).astype(np.int64)
    seen = placed.whole & (placed.row >= 0) & (placed.row < rows) & (slot >= 0) & (slot < across)
    for row in np.unique(placed.row[seen]):
        members = np.flatnonzero(seen & (placed.row == row))
        members = members[np.argsort(slot[members], kind="stable")]
        classes[row, : len(members)] = print_.classes[members]
        places[row, : len(members)] = placed.place[members]
    return PrintTargets(classes=classes, places=places, asked=asked)


def _leave_out(asked: NDArray[np.bool_], print_: Print, placed: Placed, patch: int) -> None:
    """Ask nothing under characters that cannot be read, nor in the second row of those between two rows."""
    rows, across = asked.shape
    x0, y0, x1, y1 = print_.boxes.T
    start = np.clip(np.floor(x0 * SLOTS / patch).astype(np.int64) - 1, 0, across)
    stop = np.clip(np.ceil(x1 * SLOTS / patch).astype(np.int64) + 1, 0, across)
    for index in np.flatnonzero(placed.whole & (placed.either != NONE)):
        if 0 <= placed.either[index] < rows:
            asked[placed.either[index], start[index] : stop[index]] = False
    # The row that reads a line is asked, whatever another line leaves out there.
    for index in np.flatnonzero(placed.whole):
        if 0 <= placed.row[index] < rows:
            asked[placed.row[index], start[index] : stop[index]] = True
    top = np.clip(np.floor(y0 / patch).astype(np.int64), 0, rows)
    bottom = np.clip(np.ceil(y1 / patch).astype(np.int64), 0, rows)
    for index in np.flatnonzero(~placed.whole):
        asked[top[index] : bottom[index], start[index] : stop[index]] = False


def _spread(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest places, in the least-squares sense, of which each lies at least 1 behind the one before.

    Pooling of adjacent violators (Barlow and others, Statistical Inference under Order Restrictions, 1972).
    """
    steps = np.arange(len(place))
    means: list[float] = []
    sizes: list[int] = []
    for value in (place - steps).tolist():
        mean, size = value, 1
        while means and means[-1] > mean:
            size, mean = size + sizes[-1], (mean * size + means[-1] * sizes[-1]) / (size + sizes[-1])
            means.pop()
            sizes.pop()
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes) + steps
