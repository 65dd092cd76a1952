"""Crops of print: small pictures full of type, in any face, at any size and place, from which reading is learned.

Reading is local, so a crop of a dozen patches teaches as much of it as a page, at a fraction of the price. Everything
that pages vary is varied here: face, size, weight, place between the pixels, stretch, colors, rules, wear. ``ease``
narrows it: a run begins with common type near one size, and opens up.
"""

from dataclasses import dataclass
from math import ceil, exp, log

import numpy as np
from PIL import Image, ImageDraw

from llava.pages.chance import between, happens
from llava.pages.faces import FontBook
from llava.pages.print import Print
from llava.pages.typesetting import RGB, Type
from llava.pages.vocabulary import any_text
from llava.pages.wear import USUAL_WEAR, Wear, turn, wear_down


@dataclass(frozen=True, kw_only=True)
class CropStyle:
    """What crops vary at most. Sizes are pixels per em in the crop."""

    least_size: float = 8.0
    most_size: float = 40.0
    first_size: float = 13.0
    """Around which a run begins."""
    most_squeeze: float = 1.5
    """Letters so much wider or narrower than they are cut."""
    dark: float = 0.12
    """Share of light print on dark paper."""
    colored: float = 0.18
    """Share of print in a color."""
    wear: Wear = USUAL_WEAR


def draw_crop(
    rng: np.random.Generator, book: FontBook, side: int, *, style: CropStyle | None = None, ease: float = 0.0
) -> tuple[Image.Image, Print]:
    """A square RGB crop of ``side`` pixels and the print on it, what is cut by its borders included.

    Args:
        ease: from 1, the easiest, to 0, everything that ``style`` (by default all there is) allows.
    """
    style, variety = style or CropStyle(), 1 - ease
    low = exp(variety * log(style.least_size) + ease * log(style.first_size * 0.95))
    high = exp(variety * log(style.most_size) + ease * log(style.first_size * 1.1))
    size = exp(rng.uniform(log(low), log(high)) * 0.6 + 0.4 * rng.uniform(log(low), log(min(high, max(low * 1.1, 24)))))
    across, down = draw_scales(rng, style, variety)
    width, height = ceil(side / across), ceil(side / down)
    painter = _Painter(rng, book, style, variety, width, height, size / down)
    painter.fill_with_print()
    image, print_ = turn(rng, painter.image, Print.join(painter.prints), style.wear.scaled(variety))
    if (width, height) != (side, side):
        resample = Image.Resampling.BICUBIC if happens(rng, 0.8) else Image.Resampling.BOX
        image = image.resize((side, side), resample)
        print_ = print_.scaled(side / width, side / height)
    return wear_down(rng, image, style.wear.scaled(variety)), print_


def draw_scales(rng: np.random.Generator, style: CropStyle, variety: float) -> tuple[float, float]:
    """How much smaller the crop is than what is drawn, across and down: print set at its final size is hinted to the
    raster, print that was set larger is not."""
    if happens(rng, 1 - 0.6 * variety):
        return 1.0, 1.0
    down = 1 / rng.uniform(1.0, 2.6)
    squeeze = exp(rng.normal(0, log(style.most_squeeze) / 2)) if happens(rng, 0.6) else 1.0
    return down * min(max(squeeze, 1 / style.most_squeeze), style.most_squeeze), down


class _Painter:
    """One crop while it is drawn."""

    def __init__(
        self,
        rng: np.random.Generator,
        book: FontBook,
        style: CropStyle,
        variety: float,
        width: int,
        height: int,
        size: float,
    ) -> None:
        self.rng, self.book, self.style, self.variety, self.size = rng, book, style, variety, size
        self.width, self.height = width, height
        self.paper, self.ink = _colors(rng, style, variety)
        self.image = Image.new("RGB", (width, height), self.paper)
        self.draw = ImageDraw.Draw(self.image)
        self.prints: list[Print] = []

    def fill_with_print(self) -> None:
        """Lines from top to bottom; most crops keep one face and size, some change them line by line."""
        rng, variety = self.rng, self.variety
        mixed = happens(rng, 0.25 * variety)
        type_ = self._type()
        y = rng.uniform(-0.2, 1.2) * type_.size
        columns = self._columns() if happens(rng, 0.3 * variety) else None
        leading = rng.uniform(1.05, 1.9)
        while y < self.height + 0.5 * type_.size:
            ink = self.ink
            if happens(rng, 0.06 * variety):
                ink = self._band(y, type_.size, leading)
            self._line(y, type_, ink, columns)
            if happens(rng, 0.08 * variety):
                self._rule(y + 0.35 * type_.size * rng.uniform(0.5, 1.5))
            y += leading * type_.size * (2 if happens(rng, 0.06 * variety) else 1)
            if mixed:
                type_ = self._type()
        if happens(rng, 0.15 * variety):
            for _ in range(between(rng, 1, 3)):
                x = rng.uniform(0, self.width)
                self.draw.line([(x, 0), (x, self.height)], fill=self.ink, width=between(rng, 1, 2))

    def _type(self) -> Type:
        rng = self.rng
        face = self.book.draw(rng, variety=self.variety)
        spread = rng.uniform(0.75, 1.4) if happens(rng, 0.3 * self.variety) else 1.0
        spacing = rng.uniform(-0.02, 0.12) * self.size if happens(rng, 0.06 * self.variety) else 0.0
        return Type(face.path, max(6.0, self.size * spread), spacing=spacing)

    def _columns(self) -> list[float]:
        count = max(2, int(self.width / (self.size * self.rng.uniform(3, 9))))
        return [(place + self.rng.uniform(-0.2, 0.2)) * self.width / count for place in range(count)]

    def _line(self, base: float, type_: Type, ink: RGB, columns: list[float] | None) -> None:
        rng = self.rng
        underlined = happens(rng, 0.04 * self.variety)
        wide = 1.0 if happens(rng, 0.65) else rng.uniform(1.2, 6)
        starts = iter(columns or [])
        x = rng.uniform(-3, 1.2) * type_.size if columns is None else next(starts)
        while x < self.width:
            text = any_text(rng)
            if not type_.can_set(text):
                text = "".join(c for c in text if c.isascii()) or "x"
            printed = type_.set(self.draw, x, base, text, ink)
            self.prints.append(printed)
            end = x + type_.width(text)
            if underlined:
                below = base + max(1.0, 0.12 * type_.size)
                self.draw.line([(x, below), (end, below)], fill=ink, width=max(1, round(type_.size / 16)))
            x = end + type_.blank * wide
            if columns is not None:
                x = next((start for start in starts if start > x), self.width)

    def _band(self, base: float, size: float, leading: float) -> RGB:
        """A line on a ground of its own; gives the color to print on it."""
        paper, ink = _colors(self.rng, self.style, self.variety)
        top = base - size * (0.75 + 0.25 * leading)
        self.draw.rectangle((0, top, self.width, top + size * leading), fill=paper)
        return ink

    def _rule(self, y: float) -> None:
        color = self.ink if happens(self.rng, 0.5) else _mix(self.ink, self.paper, 0.6)
        self.draw.line([(0, y), (self.width, y)], fill=color, width=between(self.rng, 1, 2))


def _colors(rng: np.random.Generator, style: CropStyle, variety: float) -> tuple[RGB, RGB]:
    """Paper and ink that can be told apart."""
    paper, ink = rng.integers(215, 256, 3), rng.integers(0, 90, 3)
    if happens(rng, 0.75):
        paper, ink = np.full(3, rng.integers(235, 256)), np.full(3, rng.integers(0, 80))
    if happens(rng, style.colored * variety):
        ink = rng.integers(0, 256, 3)
        if happens(rng, 0.4):
            paper = rng.integers(0, 256, 3)
        light = paper.mean() > ink.mean()
        # Three times out of four well apart, else as pale as print gets.
        gap = rng.uniform(90, 200) if happens(rng, 0.75) else rng.uniform(45, 90)
        missing = gap - abs(paper.mean() - ink.mean())
        if missing > 0:
            paper = paper + (missing if light else -missing) * 0.5
            ink = ink - (missing if light else -missing) * 0.5
            over = max(0.0, paper.max() - 255, ink.max() - 255) - max(0.0, -paper.min(), -ink.min())
            paper, ink = paper - over, ink - over
    elif happens(rng, style.dark * variety):
        paper, ink = ink, paper
    return _rgb(paper), _rgb(ink)


def _rgb(color: np.ndarray) -> RGB:
    red, green, blue = (int(level) for level in np.clip(color, 0, 255))
    return red, green, blue


def _mix(first: RGB, second: RGB, share: float) -> RGB:
    return _rgb(np.array(first) * (1 - share) + np.array(second) * share)
