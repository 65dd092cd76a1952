"""Print: the characters on a picture and where each of them stands, as arrays.

Axis names: characters (in reading order). Lengths are pixels of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llava.pages.characters import CHARACTERS, NONE

Floats = NDArray[np.float64]
DEPTH = 0.22
"""Ems from the baseline to a descender's foot; a capital's top is 1 - DEPTH above it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Print:
    """Characters without the blanks between them.

    Raises:
        ValueError: if the arrays are not all of one length.
    """

    classes: NDArray[np.int64]
    """Index into ``CHARACTERS``; ``NONE`` for characters of other scripts, which are print but cannot be named."""
    left: Floats
    """x where the character's advance begins."""
    right: Floats
    """x where it ends."""
    base: Floats
    """y of the baseline."""
    size: Floats
    """Height of an em."""
    word: NDArray[np.int64]
    """Which word each belongs to; the characters of a word stand together."""

    def __post_init__(self) -> None:
        if len({len(getattr(self, field.name)) for field in fields(self)}) > 1:
            raise ValueError("the arrays of a Print must be of one length")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def middle(self) -> Floats:
        """(characters, 2): x and y of the middle of each, halfway up a small letter's height and a capital's."""
        return np.stack([(self.left + self.right) / 2, self.base - 0.3 * self.size], axis=1)

    @property
    def boxes(self) -> Floats:
        """(characters, 4): x0, y0, x1, y1 of about the ink, from a descender's foot to a capital's top."""
        top = self.base - (1 - DEPTH) * self.size
        return np.stack([self.left, top, self.right, self.base + DEPTH * self.size], axis=1)

    def texts(self) -> list[str]:
        """Each word, with a question mark for what cannot be named."""
        found: dict[int, str] = {}
        for word, code in zip(self.word.tolist(), self.classes.tolist(), strict=True):
            found[word] = found.get(word, "") + ("?" if code == NONE else CHARACTERS[code])
        return list(found.values())

    def scaled(self, across: float, down: float) -> "Print":
        """The same print on the picture stretched by these factors."""
        left, right = self.left * across, self.right * across
        return replace(self, left=left, right=right, base=self.base * down, size=self.size * down)

    def shifted(self, x: float, y: float) -> "Print":
        """The same print on a picture whose origin lies at (-x, -y)."""
        return replace(self, left=self.left + x, right=self.right + x, base=self.base + y)

    def turned(self, degrees: float, x: float, y: float) -> "Print":
        """The same print on the picture turned counter-clockwise around (x, y) by a few degrees."""
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        middle, half = (self.left + self.right) / 2 - x, (self.right - self.left) / 2
        base = self.base - y
        turned = x + middle * cosine + base * sine
        return replace(self, left=turned - half, right=turned + half, base=y - middle * sine + base * cosine)

    def within(self, x0: float, y0: float, x1: float, y1: float) -> "Print":
        """What touches a rectangle, with the origin moved to its corner."""
        left, top, right, bottom = self.boxes.T
        kept = (right > x0) & (left < x1) & (bottom > y0) & (top < y1)
        parts: dict[str, Any] = {field.name: getattr(self, field.name)[kept] for field in fields(self)}
        return Print(**parts).shifted(-x0, -y0)

    @classmethod
    def join(cls, parts: Sequence["Print"]) -> "Print":
        """Several prints on one picture, the words numbered anew."""
        counts = [int(part.word.max(initial=-1)) + 1 for part in parts]
        first = np.cumsum([0, *counts])
        none, nowhere = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(
            classes=np.concatenate([none, *(part.classes for part in parts)]),
            left=np.concatenate([nowhere, *(part.left for part in parts)]),
            right=np.concatenate([nowhere, *(part.right for part in parts)]),
            base=np.concatenate([nowhere, *(part.base for part in parts)]),
            size=np.concatenate([nowhere, *(part.size for part in parts)]),
            word=np.concatenate([none, *(part.word + number for part, number in zip(parts, first, strict=False))]),
        )
