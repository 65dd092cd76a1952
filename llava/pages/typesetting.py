"""Words set in proportional type at any place between the pixels, with every character's place noted."""

from pathlib import Path

import numpy as np
from PIL import ImageDraw

from llava.pages.characters import character_class
from llava.pages.faces import advance, load_font, shows
from llava.pages.print import Print

RGB = tuple[int, int, int]
_SIZE_STEP = 0.25
"""Sizes of type are rounded to this many pixels, so that fonts can be kept between pages."""


class Type:
    """A face at a size in pixels per em."""

    def __init__(self, path: Path, size: float, *, spacing: float = 0.0) -> None:
        self.path = path
        self.size = round(size / _SIZE_STEP) * _SIZE_STEP
        self.spacing = spacing
        """Added behind every character."""
        self._font = load_font(path, self.size)
        self.blank = self.width(" ")
        """The width of a space."""
        self.cap_height = -float(self._font.getbbox("H", anchor="ls")[1])

    def width(self, text: str) -> float:
        """How far the pen moves over the text."""
        return float(self._font.getlength(text)) + self.spacing * len(text)

    def pens(self, text: str) -> list[float]:
        """Where the pen stands before each character and behind the last, from 0.

        What kerning takes from a line is shared out over its characters: asking for each would cost more than printing.
        """
        pens = [0.0]
        for character in text:
            pens.append(pens[-1] + advance(self.path, self.size, character))
        kerned = float(self._font.getlength(text)) / pens[-1] if pens[-1] else 1.0
        return [pen * kerned + self.spacing * place for place, pen in enumerate(pens)]

    def can_set(self, text: str) -> bool:
        """Whether the face has every character."""
        return all(character == " " or shows(self.path, character) for character in text)

    def set(self, draw: ImageDraw.ImageDraw, x: float, base: float, text: str, color: RGB | int) -> Print:
        """Print a line with its baseline at ``base`` from ``x`` on; blanks part its words."""
        pens = self.pens(text)
        if self.spacing:
            for character, pen in zip(text, pens, strict=False):
                draw.text((x + pen, base), character, fill=color, font=self._font, anchor="ls")
        else:
            draw.text((x, base), text, fill=color, font=self._font, anchor="ls")
        places = np.array([place for place, character in enumerate(text) if character != " "], dtype=np.int64)
        start, count = np.array(pens), len(places)
        return Print(
            classes=np.array([character_class(character) for character in text if character != " "], dtype=np.int64),
            left=x + start[places],
            right=x + start[places + 1],
            base=np.full(count, float(base)),
            size=np.full(count, float(self.size)),
            # A blank in front of a character begins another word.
            word=np.cumsum(np.diff(places, prepend=places[:1]) > 1),
        )
