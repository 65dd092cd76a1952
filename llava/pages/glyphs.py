"""Masks of characters, words and shapes, drawn once per process and pasted many times.

FreeType spends about 8 microseconds on a glyph and pasting a mask 1, which decides whether pages are drawn as fast as
a model learns from them. Pillow's basic layout is asked for by name, so that a page does not depend on libraqm.
"""

from functools import lru_cache
from math import ceil, cos, floor, pi, sin
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

_OVERSAMPLING = 4


class Glyph(NamedTuple):
    """A character's mask, None for a blank, where it goes from the pen on the baseline, and how far the pen moves."""

    mask: Image.Image | None
    left: int
    top: int
    advance: int


class GlyphRun(NamedTuple):
    """Masks that print a run of characters, each with its place from the pen, and the bounds of their ink."""

    pieces: tuple[tuple[Image.Image, int, int], ...]
    bounds: tuple[int, int, int, int]
    pens: tuple[int, ...]
    """Where the pen stands before each character, and after the last."""


class Face:
    """A font at one size in pixels per em; with a ``pitch``, every character takes so many pixels, as if typed."""

    def __init__(self, path: Path, size: int, pitch: int = 0) -> None:
        self.size = size
        self.glyphs = _Glyphs(ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC), pitch)
        self.cap_height = -self.glyphs["H"].top

    def width(self, text: str) -> int:
        """How far the pen moves over the text, in pixels."""
        glyphs = self.glyphs
        return sum([glyphs[character].advance for character in text])


class _Glyphs(dict[str, Glyph]):
    """Glyphs by character, each rendered when it is first looked up."""

    def __init__(self, font: ImageFont.FreeTypeFont, pitch: int) -> None:
        super().__init__()
        self._font = font
        self._pitch = pitch

    def __missing__(self, character: str) -> Glyph:
        glyph = self[character] = self._render(character)
        return glyph

    def _render(self, character: str) -> Glyph:
        advance = self._pitch or ceil(self._font.getlength(character) - 0.25)
        x0, y0, x1, y1 = self._font.getbbox(character, anchor="ls")
        left, top = floor(x0) - 1, floor(y0) - 1
        canvas = Image.new("L", (ceil(x1) - left + 1, ceil(y1) - top + 1))
        ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=self._font, anchor="ls")
        ink = canvas.getbbox()
        if ink is None:
            return Glyph(None, 0, 0, advance)
        mask, x = canvas.crop(ink), left + ink[0]
        if self._pitch:
            mask = mask.resize((min(mask.width, self._pitch), mask.height), Image.Resampling.BOX)
            x = (self._pitch - mask.width) // 2
        return Glyph(mask, x, top + ink[1], advance)


@lru_cache(maxsize=192)
def load_face(path: Path, size: int, pitch: int = 0) -> Face:
    """The face, kept for the next page."""
    return Face(path, size, pitch)


@lru_cache(maxsize=32768)
def set_run(face: Face, text: str) -> GlyphRun:
    """The characters set beside each other.

    Words come back on other pages and are joined to one mask; numbers seldom do, and joining them would cost more than
    it saves.

    Raises:
        ValueError: if no character of the text leaves ink.
    """
    pieces, pens = [], [0]
    for character in text:
        mask, left, top, advance = face.glyphs[character]
        if mask is not None:
            pieces.append((mask, pens[-1] + left, top))
        pens.append(pens[-1] + advance)
    if not pieces:
        raise ValueError(f"{text!r} has nothing to print; pass at least one visible character")
    x0, y0 = min(x for _, x, _ in pieces), min(y for _, _, y in pieces)
    x1, y1 = max(x + mask.width for mask, x, _ in pieces), max(y + mask.height for mask, _, y in pieces)
    if not any(map(str.isdigit, text)):
        joined = Image.new("L", (x1 - x0, y1 - y0))
        for mask, x, y in pieces:
            joined.paste(255, (x - x0, y - y0), mask)
        pieces = [(joined, x0, y0)]
    return GlyphRun(tuple(pieces), (x0, y0, x1, y1), tuple(pens))


@lru_cache(maxsize=512)
def figure_mask(figure: str, size: int) -> Image.Image:
    """An anti-aliased mask of ``size`` pixels square with the figure inside.

    Raises:
        ValueError: if the figure has no outline here.
    """
    large = size * _OVERSAMPLING
    canvas = Image.new("L", (large, large))
    draw = ImageDraw.Draw(canvas)
    if figure in ("circle", "ring"):
        draw.ellipse((0, 0, large - 1, large - 1), fill=255)
        if figure == "ring":
            hole = large * 0.27
            draw.ellipse((hole, hole, large - 1 - hole, large - 1 - hole), fill=0)
    else:
        draw.polygon([((1 + x) * (large - 1) / 2, (1 + y) * (large - 1) / 2) for x, y in _outline(figure)], fill=255)
    return canvas.resize((size, size), Image.Resampling.BOX)


def _outline(figure: str) -> list[tuple[float, float]]:
    """Corners in [-1, 1], y downward."""
    if figure == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if figure == "triangle":
        return [(0, -0.95), (1, 0.85), (-1, 0.85)]
    if figure == "diamond":
        return [(0, -1), (0.8, 0), (0, 1), (-0.8, 0)]
    if figure == "hexagon":
        return [(cos(turn * pi / 3), 0.95 * sin(turn * pi / 3)) for turn in range(6)]
    if figure == "star":
        reach = [1.0, 0.42]
        turns = [(reach[turn % 2], turn * pi / 5) for turn in range(10)]
        return [(r * sin(angle), -r * cos(angle) * 1.0 + 0.05) for r, angle in turns]
    if figure == "cross":
        arm = 0.34
        corner = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        return corner + [(-x, -y) for x, y in corner]
    raise ValueError(
        f"there is no figure {figure!r}; use one of circle, ring, square, triangle, diamond, hexagon, star, cross"
    )
