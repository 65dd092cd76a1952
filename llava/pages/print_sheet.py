"""A sheet that is printed on freely: any face, any size, any place between the pixels."""

from dataclasses import replace

import numpy as np

from llava.pages.faces import load_font
from llava.pages.names import open_lexicon
from llava.pages.page import HUES, Box, Mark, Page, PageQuestion
from llava.pages.sheet import AnyFace, RasterSheet, Sheet
from llava.pages.style import PageStyle
from llava.pages.theme import Theme, draw_theme, theme_traits
from llava.pages.typesetting import Type
from llava.pages.wear import Wear, do_damage, draw_damage


class PrintSheet(Sheet):
    """A sheet in a theme's look.

    Args:
        wear: what happens to the page once it is printed.
    """

    def __init__(self, rng: np.random.Generator, theme: Theme, wear: Wear) -> None:
        self.theme = theme
        self._wear = wear
        super().__init__(
            rng, (theme.width, theme.height), theme.palette, print_size=theme.size, lexicon=open_lexicon(rng)
        )

    def face(self, size: float | None = None, *, strong: bool = False) -> Type:
        """The page's plain face at a size, or the one for what stands out."""
        face = self.theme.strong if strong else self.theme.plain
        return Type(face.path, size or self.print_size)

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
        assert isinstance(face, Type)
        left = x - align * face.width(words)
        face.set(self._draw, left, y, words, self.palette.colors[color])
        x0, y0, x1, y1 = load_font(face.path, face.size).getbbox(words, anchor="ls")
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"{words!r} has nothing to print; pass at least one visible character")
        width, height = self.width, self.height
        box = ((left + x0) / width, (y + y0) / height, (left + x1) / width, (y + y1) / height)
        self._marks.append(
            Mark(
                text=words,
                color=color,
                box=box,
                edges=tuple((left + pen) / width for pen in face.pens(words)),
                base=y / height,
                size=face.size / height,
                row=row,
                column=column,
                panel=self.panel,
                label=label,
            )
        )
        return box

    def finish(self, questions: tuple[PageQuestion, ...]) -> Page:
        """The page as it arrives; one on which colors mean something keeps them."""
        means = any(mark.color in HUES for mark in self._marks)
        damage = draw_damage(self._rng, replace(self._wear, gray=0.0) if means else self._wear)
        return Page(
            image=do_damage(self._rng, self._image, damage),
            paper=self.palette.paper,
            questions=questions,
            marks=tuple(self._marks),
            traits={**theme_traits(self.theme), "damage": " and ".join(damage.names) or "none"},
        )


def open_sheet(rng: np.random.Generator, style: PageStyle, *, pitch: int = 0) -> Sheet:
    """A sheet of the kind that a style asks for: freely printed, or on a raster, typed if it has a pitch."""
    if style.looks is not None:
        return PrintSheet(rng, draw_theme(rng, style.looks), style.wear)
    return RasterSheet(rng, style, pitch=pitch)
