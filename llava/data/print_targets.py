"""What a tower is asked to read in every patch: the characters whose middles fall into each of its slots.

A patch is cut into ``SLOTS`` upright slots, and each names one character or none, so that a line of print is a row of
slots. A middle near the border of two slots has no one right place: its target is shared between both. A line near the
border of two rows of patches may be read in either: the further row is asked nothing there, and so is what is cut by
the picture's edge.

Axis names: rows, columns (of patches), slots (of a patch), characters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llava.pages.characters import CHARACTERS, NONE
from llava.pages.print import Print

SLOTS = 4
NOTHING = len(CHARACTERS)
"""Class of a slot in which no character has its middle."""
_SHARED = 0.22
"""Middles this near to a slot's border, in slots, count for both sides."""
_EITHER = 0.17
"""Lines this near to a row's border, in patches, may be read on both sides."""
_LEAST_SIZE = 6.0
"""Print of fewer pixels to the em cannot be read, so it is not asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PrintTargets:
    """The first class of a slot, a second one, and how much of the slot each gets; the rest belongs to ``NOTHING``."""

    first: NDArray[np.int64]
    """(rows, columns, slots)"""
    second: NDArray[np.int64]
    shares: NDArray[np.float32]
    """(rows, columns, slots, 2), each and their sum from 0 to 1."""
    asked: NDArray[np.bool_]
    """(rows, columns, slots): False where nothing is asked."""


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
    rows, columns = height // patch, width // patch
    across = columns * SLOTS
    first, second = (np.full((rows, across), NOTHING, dtype=np.int64) for _ in range(2))
    shares = np.zeros((rows, across, 2), dtype=np.float32)
    asked = np.ones((rows, across), dtype=np.bool_)
    placed = place_characters(print_, width, height, patch)
    _leave_out(asked, print_, placed, patch)
    seen = placed.whole & (placed.row >= 0) & (placed.row < rows)
    place, row, classes = placed.place[seen], placed.row[seen], print_.classes[seen]
    slot = np.floor(place).astype(np.int64)
    inside = place - slot
    near = np.minimum(inside, 1 - inside)
    own = np.where(near < _SHARED, 0.5 + 0.5 * near / _SHARED, 1.0)
    beside = slot + np.where(inside < 0.5, -1, 1)
    for target, share in ((slot, own), (beside, 1 - own)):
        _give(first, second, shares, row, target, classes, share)
    shape = (rows, columns, SLOTS)
    return PrintTargets(
        first=first.reshape(shape),
        second=second.reshape(shape),
        shares=shares.reshape(*shape, 2),
        asked=asked.reshape(shape),
    )


def _give(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    shares: NDArray[np.float32],
    row: NDArray[np.int64],
    slot: NDArray[np.int64],
    classes: NDArray[np.int64],
    share: NDArray[np.float64],
) -> None:
    """Write characters into slots; a slot that is taken keeps a second one."""
    fits = (slot >= 0) & (slot < first.shape[1]) & (share > 0)
    row, slot, classes, share = row[fits], slot[fits], classes[fits], share[fits]
    taken = shares[row, slot, 0] > 0
    for table, number, chosen in ((first, 0, ~taken), (second, 1, taken)):
        table[row[chosen], slot[chosen]] = classes[chosen]
        shares[row[chosen], slot[chosen], number] = share[chosen]
    total = shares.sum(-1, keepdims=True)
    np.divide(shares, total, out=shares, where=total > 1)


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
