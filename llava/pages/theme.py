"""How a freely printed page looks: its paper and inks, its faces of type, its sizes."""

from bisect import bisect_right
from dataclasses import dataclass
from math import exp, log

import numpy as np

from llava.pages.chance import happens
from llava.pages.faces import FontBook, FontFace, held_out_faces, shows, training_faces
from llava.pages.looks import Palette
from llava.pages.page import RGB
from llava.pages.vocabulary import BEYOND_ASCII

_HUES: dict[str, RGB] = {
    "red": (214, 39, 40), "orange": (255, 127, 14), "yellow": (240, 200, 20), "green": (44, 160, 44),
    "blue": (31, 100, 190), "purple": (128, 60, 170), "pink": (240, 110, 180), "brown": (130, 82, 60),
}  # fmt: skip
"""The middle of what each name of a color may look like."""
_SHAPES = ((1.0, 1.0), (0.707, 1.0), (0.773, 1.0), (1.414, 1.0), (1.3, 1.0), (0.6, 1.0))
"""Widths and heights of paper: squares, A4 and letter, both ways up, and narrow slips."""


@dataclass(frozen=True, kw_only=True)
class Theme:
    """One page's look."""

    width: int
    height: int
    """Of the page, in pixels."""
    palette: Palette
    plain: FontFace
    strong: FontFace
    """For headings and whatever stands out; the plain face where its family has no bold."""
    size: float
    """Of plain print, in pixels per em."""
    leading: float
    """Distance of baselines, in ems."""
    side: int
    """Of the square view that the page is squeezed into."""
    held_out: bool
    """Whether its family of type is kept for the test."""

    @property
    def line(self) -> float:
        """Distance of baselines in pixels."""
        return self.size * self.leading


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What themes are drawn from.

    ``side`` is that of the square view that the page is squeezed into before it is read: print is as large, there, as
    ``sizes`` says, whatever the page's own pixels.
    """

    side: int = 672
    sizes: tuple[float, float] = (9.0, 20.0)
    dark: float = 0.1
    tinted: float = 0.25
    held_out: bool = False
    """Set in families of type that are kept for the test, not in those that are trained on."""

    @property
    def book(self) -> FontBook:
        """What is installed of them."""
        return held_out_faces() if self.held_out else training_faces()


def draw_theme(rng: np.random.Generator, looks: Looks) -> Theme:
    """A look at random."""
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))] if happens(rng, 0.7) else (rng.uniform(0.6, 1.6), 1.0)
    scale = looks.side * rng.uniform(1.0, 1.6) / (shape[0] * shape[1]) ** 0.5
    width, height = round(shape[0] * scale), round(shape[1] * scale)
    low, high = looks.sizes
    size = exp(rng.uniform(log(low), log(high))) * height / looks.side
    # A wide page is squeezed until its letters are narrow: they must stay wide enough to be told apart.
    size = max(size, 0.75 * low * width / looks.side)
    plain = _draw_face(rng, looks.book)
    bold = [face for face in looks.book.faces if face.family == plain.family and "Bold" in face.style]
    bold = [face for face in bold if "Italic" not in face.style and "Oblique" not in face.style and _is_complete(face)]
    return Theme(
        width=width,
        height=height,
        palette=draw_palette(rng, dark=looks.dark, tinted=looks.tinted),
        plain=plain,
        strong=bold[0] if bold else plain,
        size=size,
        leading=rng.uniform(1.2, 1.7),
        side=looks.side,
        held_out=looks.held_out,
    )


def theme_traits(theme: Theme) -> dict[str, str]:
    """What a page looks like in words that reports count by; sizes are those in the view."""
    size = theme.size * theme.side / theme.height
    stretch = theme.height / theme.width
    paper, ink = (_luma(color) for color in (theme.palette.paper, theme.palette.colors["black"]))
    contrast = abs(paper - ink)
    return {
        "type": "held-out families" if theme.held_out else "trained families",
        "size": named_interval(size, (11, 13, 16, 20), " px"),
        "letters": named_interval(stretch, (0.8, 1.25), " as wide as high"),
        "ground": "dark" if paper < ink else "light",
        "contrast": named_interval(contrast, (140, 200), " levels"),
    }


def _luma(color: RGB) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def named_interval(value: float, borders: tuple[float, ...], unit: str) -> str:
    """The interval between two of the ascending ``borders`` in which a value lies, in words."""
    place = bisect_right(borders, value)
    if place == 0:
        return f"below {borders[0]:g}{unit}"
    if place == len(borders):
        return f"{borders[-1]:g}{unit} and more"
    return f"{borders[place - 1]:g} to {borders[place]:g}{unit}"


def _draw_face(rng: np.random.Generator, book: FontBook) -> FontFace:
    """A face that has every character that pages print."""
    for _ in range(_DRAWS):
        face = book.draw(rng)
        if _is_complete(face):
            return face
    raise ValueError(f"none of {_DRAWS} faces of type has all of {BEYOND_ASCII}; install some that do, as DejaVu")


def _is_complete(face: FontFace) -> bool:
    return all(shows(face.path, character) for character in BEYOND_ASCII)


_DRAWS = 500


def draw_palette(rng: np.random.Generator, *, dark: float, tinted: float) -> Palette:
    """Paper and ink that can be told apart, and every named color as someone might mean it."""
    paper = np.full(3, float(rng.integers(240, 256)))
    ink = np.full(3, float(rng.integers(0, 70)))
    if happens(rng, tinted):
        paper, ink = rng.uniform(215, 256, 3), rng.uniform(0, 90, 3)
    if happens(rng, dark):
        paper, ink = ink, paper
    gray, rule, tint = (ink * (1 - share) + paper * share for share in (0.35, 0.6, rng.uniform(0.88, 0.95)))
    colors = {name: _rgb(np.array(color) + rng.normal(0, 14, 3)) for name, color in _HUES.items()}
    plain = {"black": _rgb(ink), "gray": _rgb(gray), "white": _rgb(paper)}
    return Palette(paper=_rgb(paper), tint=_rgb(tint), rule=_rgb(rule), colors={**colors, **plain})


def _rgb(color: np.ndarray) -> RGB:
    red, green, blue = (int(level) for level in np.clip(color, 0, 255))
    return red, green, blue
