"""The sheet that pages are drawn on: it prints fast and notes what stands where."""

from functools import lru_cache
from math import floor

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from llava.pages.chance import between, pick
from llava.pages.glyphs import Face, figure_mask, load_face, set_run
from llava.pages.lexicon import Lexicon
from llava.pages.looks import Palette, font_path
from llava.pages.page import FIGURES, RGB, Box, Mark, Page, PageQuestion
from llava.pages.style import PageStyle
from llava.pages.typesetting import Type

AnyFace = Face | Type

_TILE = 1024
_OVERSAMPLING = 3
_BASE_LINE = 1.45
"""Where the print of a typed line stands below its upper end, in pitches."""


class Sheet:
    """A sheet measured in pixels from the top left, in one palette. How it is printed on is up to its kind.

    Args:
        print_size: pixels per em of plain print.
        noise: largest darkening of a pixel, in levels of 255.
    """

    pitch = 0
    """Pixels per character of a typed sheet; 0 for print of any size at any place."""

    def __init__(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        palette: Palette,
        *,
        print_size: float,
        lexicon: Lexicon,
        noise: int = 0,
    ) -> None:
        self.width, self.height = size
        self.palette = palette
        self.print_size = print_size
        self.lexicon = lexicon
        self.panel: str | None = None
        """Title of the chart that is being drawn, which its marks belong to."""
        self._image = Image.new("RGB", size, palette.paper)
        self._draw = ImageDraw.Draw(self._image)
        self._marks: list[Mark] = []
        self._rng = rng
        self._noise = noise

    @property
    def num_marks(self) -> int:
        """How much has been drawn that means something."""
        return len(self._marks)

    def face(self, size: float | None = None) -> AnyFace:
        """The page's font at a size, by default that of plain print."""
        raise NotImplementedError

    def base_line(self, y: float) -> float:
        """Where print that is wanted with its baseline at ``y`` stands."""
        return y

    def text(
        self,
        x: float,
        y: float,
        words: str,
        face: AnyFace,
        color: str = "black",
        *,
        align: float = 0,
        row: str | None = None,
        column: str | None = None,
        label: bool = False,
    ) -> Box:
        """Print with the baseline at ``y`` and return the box of the ink.

        ``align`` is the share of the width that lies left of ``x``: 0 starts there, 0.5 centers, 1 ends there. A
        ``label`` is the one that ``row`` or ``column`` names.

        Raises:
            ValueError: if no character of the words leaves ink.
        """
        raise NotImplementedError

    def figure(
        self,
        x: float,
        y: float,
        size: int,
        figure: str,
        color: str,
        *,
        row: str | None = None,
        column: str | None = None,
    ) -> Box:
        """Draw a figure of ``size`` pixels centered at (x, y) and return its box."""
        mask = figure_mask(figure if figure in FIGURES else "circle", size)
        x0, y0 = round(x - size / 2), round(y - size / 2)
        self._draw.bitmap((x0, y0), mask, fill=self.palette.colors[color])
        return self.note(figure, color, (x0, y0, x0 + size, y0 + size), row=row, column=column)

    def bar(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        shape: str,
        color: str,
        *,
        row: str | None = None,
        column: str | None = None,
    ) -> Box:
        """Fill a rectangle that means something, such as a bar or the swatch of a legend, and return its box."""
        corners = round(x0), round(y0), max(round(x1), round(x0) + 1), max(round(y1), round(y0) + 1)
        self.fill(*corners, self.palette.colors[color])
        return self.note(shape, color, corners, row=row, column=column)

    def pie(self, x: float, y: float, radius: int, wedges: list[tuple[float, float, str]]) -> None:
        """Draw sectors (start, end, color) of a disk; angles are degrees, clockwise from three o'clock."""
        large = 2 * radius * _OVERSAMPLING
        disk = Image.new("RGB", (large, large), self.palette.paper)
        draw = ImageDraw.Draw(disk)
        for start, end, color in wedges:
            draw.pieslice((0, 0, large - 1, large - 1), start, end, fill=self.palette.colors[color])
        self._image.paste(disk.reduce(_OVERSAMPLING), (round(x) - radius, round(y) - radius))

    def fill(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        """Fill a rectangle that means nothing; the right and lower ends are outside."""
        if x1 > x0 and y1 > y0:
            self._draw.rectangle((round(x0), round(y0), round(x1) - 1, round(y1) - 1), fill=color)

    def line(self, points: list[tuple[float, float]], color: RGB, width: int = 1) -> None:
        """A line through points."""
        self._draw.line(points, fill=color, width=width, joint="curve" if width > 1 else None)

    def note(
        self, shape: str, color: str, corners: tuple[float, float, float, float], *, row: str | None, column: str | None
    ) -> Box:
        """Record a shape that stands within ``corners`` (pixels), and return its box."""
        x0, y0, x1, y1 = corners
        box = (x0 / self.width, y0 / self.height, x1 / self.width, y1 / self.height)
        self._marks.append(Mark(shape=shape, color=color, box=box, row=row, column=column, panel=self.panel))
        return box

    def finish(self, questions: tuple[PageQuestion, ...]) -> Page:
        """The page, with noise laid over it."""
        image = self._image
        if self._noise:
            x, y = (between(self._rng, 0, _TILE) for _ in range(2))
            grain = _grain(self._noise, max(self.width, self.height)).crop((x, y, x + self.width, y + self.height))
            image = ImageChops.subtract(image, grain)
        return Page(image=image, paper=self.palette.paper, questions=questions, marks=tuple(self._marks))


class RasterSheet(Sheet):
    """A sheet whose print stands on whole pixels, in the look of a style.

    Args:
        pitch: of a typed sheet, whose print all has one size and stands on a raster of cells of ``pitch`` x 2
            ``pitch``, next to where it was wanted; 0 for print of any size at any place.
    """

    def __init__(self, rng: np.random.Generator, style: PageStyle, *, pitch: int = 0) -> None:
        palette = pick(rng, style.look.palettes)
        size = 2 * pitch - 1 if pitch else between(rng, *style.print_size)
        self._font = font_path(pick(rng, style.look.fonts))
        self.pitch = pitch
        super().__init__(
            rng,
            (style.side, style.side),
            palette,
            print_size=size,
            lexicon=style.lexicon,
            noise=style.noise,
        )

    def face(self, size: float | None = None) -> Face:
        """The page's font at a size, by default the size of its print, which is the only one on a typed sheet."""
        if self.pitch:
            return load_face(self._font, int(self.print_size), self.pitch)
        return load_face(self._font, int(size or self.print_size))

    def base_line(self, y: float) -> int:
        """Where print wanted with its baseline at ``y`` stands: there, or on the nearest line of a typed sheet."""
        if not self.pitch:
            return round(y)
        line, first = 2 * self.pitch, round(_BASE_LINE * self.pitch)
        # Rounding halves to even would put two lines in one place.
        row = min(max(0, floor((y - first) / line + 0.5)), self.height // line - 1)
        return row * line + first

    def text(
        self,
        x: float,
        y: float,
        words: str,
        face: AnyFace,
        color: str = "black",
        *,
        align: float = 0,
        row: str | None = None,
        column: str | None = None,
        label: bool = False,
    ) -> Box:
        assert isinstance(face, Face)
        run, side = set_run(face, words), self.width
        pen = floor(x - align * run.pens[-1] + 0.5)  # rounding halves to even would fray a flush column
        base, ink = self.base_line(y), self.palette.colors[color]
        if self.pitch:
            pen = self.pitch * min(max(0, round(pen / self.pitch)), side // self.pitch - len(words))
        for mask, dx, dy in run.pieces:
            self._draw.bitmap((pen + dx, base + dy), mask, fill=ink)
        x0, y0, x1, y1 = run.bounds
        box = ((pen + x0) / side, (base + y0) / side, (pen + x1) / side, (base + y1) / side)
        edges = tuple([(pen + place) / side for place in run.pens])
        self._marks.append(
            Mark(
                text=words,
                color=color,
                box=box,
                edges=edges,
                base=base / side,
                size=face.size / side,
                row=row,
                column=column,
                panel=self.panel,
                label=label,
            )
        )
        return box


@lru_cache(maxsize=4)
def _grain(level: int, side: int) -> Image.Image:
    """A field of noise from 0 to ``level``, of which each page takes another part."""
    span = side + _TILE
    values = np.random.default_rng(level).integers(0, level + 1, (span, span, 1), dtype=np.uint8)
    return Image.fromarray(values.repeat(3, axis=2))
