"""Faces of type: which are installed, which may be trained on, and which are kept for the test.

Families are held out whole, so that a test on them asks for type that training never showed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ImageFont

from llava.constants import ASSETS
from llava.pages.chance import happens, pick

SHIPPED = ASSETS / "fonts"
SYSTEM = Path("/usr/share/fonts")

HELD_OUT = (
    "Comic Neue", "Courier Prime", "Dosis", "Fira", "Gentium", "Lato", "League Spartan", "Noto", "Play", "PT Serif",
    "Quattrocento", "Sora", "Tuffy", "Vollkorn",
)  # fmt: skip
"""Beginnings of the names of families that no training page is set in."""

COMMON = (
    "Arimo", "Caladea", "Carlito", "CMU Serif", "Cousine", "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "Inter",
    "Latin Modern", "Liberation Mono", "Liberation Sans", "Liberation Serif", "Nimbus Roman", "Nimbus Sans",
    "Open Sans", "Roboto", "Tinos",
)  # fmt: skip
"""Families that most documents are set in: a good share of training, whatever else is installed."""

_UNFIT = re.compile(
    r"Symbol|Dingbat|D050000L|Emoji|Icons|Initials|Keyboard|Math|Abecedario|Alfa-beta|Museum|Script|Z003|OCR A|"
    r"Monoisome|(?-i:^cm[a-z]+\d|^eufm|^ms[ab]m|^stmary|^wasy)|^sans$|Last Resort|Balker|Caliban|Delphine|Elegante|"
    r"Flat|Isabella|wasn't|Jara|Junkyard|Abogado|Marked|Penguin|Manners|Wargames|progenisis|Cupola|Steve|Ellhnikh|PHON|"
    r"Irianis ADF Style|Romande ADF Style|Titling|Smallcaps|Keyfont|EMERITA|Lobster|Spleen|Music|flatline|Kufi|"
    r"Nastaliq|Looped|Noto (Sans|Serif) (?!Display|Mono)",
    re.IGNORECASE,
)
"""Families that are no type to read a document in: scripts and pictures, other alphabets, decorations."""
_TOO_THIN = re.compile(r"Thin|Hairline|ExtraLight|Extra Light|Extlt|UltraLight|Outline", re.IGNORECASE)
_NEEDED = "AZaz09$%&@.,:;-()/"


@dataclass(frozen=True, order=True)
class FontFace:
    """One font file, or one face inside it."""

    family: str
    style: str
    path: Path

    @property
    def held_out(self) -> bool:
        """Whether its family is kept for the test."""
        return self.family.startswith(HELD_OUT)

    @property
    def common(self) -> bool:
        """Whether its family is one that most documents are set in, in its plain form or its bold."""
        return self.family in COMMON and self.style in ("Regular", "Book", "Roman", "Bold")


class FontBook:
    """Faces by family, chosen so that a family with forty faces weighs no more than one with four.

    Raises:
        ValueError: if there is no face to choose from.
    """

    def __init__(self, faces: Iterable[FontFace], *, common_share: float = 0.35) -> None:
        self.faces = sorted(faces)
        if not self.faces:
            raise ValueError("no usable font was found; install some, or name their folders")
        self._common = [face for face in self.faces if face.common]
        self._common_share = common_share if self._common else 0.0
        families: dict[str, list[FontFace]] = {}
        for face in self.faces:
            families.setdefault(face.family, []).append(face)
        self.families = tuple(families)
        self._by_family = list(families.values())

    def draw(self, rng: np.random.Generator, *, variety: float = 1.0) -> FontFace:
        """A face at random.

        Args:
            variety: share of draws that may fall on any family; the others fall on common ones.
        """
        if happens(rng, 1 - variety * (1 - self._common_share)) and self._common:
            return pick(rng, self._common)
        return pick(rng, pick(rng, self._by_family))


@lru_cache(maxsize=8)
def training_faces(folders: tuple[Path, ...] = (SHIPPED, SYSTEM)) -> FontBook:
    """Every usable face that is installed and not held out."""
    return FontBook(face for face in installed_faces(folders) if not face.held_out)


@lru_cache(maxsize=8)
def held_out_faces(folders: tuple[Path, ...] = (SHIPPED, SYSTEM)) -> FontBook:
    """Every usable face of the families held out."""
    return FontBook(face for face in installed_faces(folders) if face.held_out)


@lru_cache(maxsize=8)
def installed_faces(folders: tuple[Path, ...]) -> tuple[FontFace, ...]:
    """The usable faces below some folders and among matplotlib's, each once: legible, upright or slanted Latin type."""
    found: dict[tuple[str, str], FontFace] = {}
    for folder in (*folders, *_matplotlib_fonts()):
        for path in sorted([*folder.rglob("*.ttf"), *folder.rglob("*.otf")]):
            face = _read_face(path)
            if face is not None:
                found.setdefault((face.family, face.style), face)
    return tuple(sorted(found.values()))


def _matplotlib_fonts() -> list[Path]:
    matplotlib = find_spec("matplotlib")
    if matplotlib is None or not matplotlib.submodule_search_locations:
        return []
    return [Path(matplotlib.submodule_search_locations[0], "mpl-data", "fonts", "ttf")]


def _read_face(path: Path) -> FontFace | None:
    """The face in a file; None if it is broken, of another script, or hardly legible at the sizes of print."""
    try:
        font = load_font(path, 20)
        family, style = (part or "" for part in font.getname())
        if _UNFIT.search(family) or _TOO_THIN.search(f"{family} {style} {path.stem}"):
            return None
        blank = bytes(font.getmask("\uffff"))
        masks = [font.getmask(character) for character in _NEEDED]
    except (OSError, ValueError):
        return None
    if any(mask.getbbox() is None or bytes(mask) == blank for mask in masks):
        return None
    return FontFace(family=family, style=style, path=path)


@lru_cache(maxsize=512)
def load_font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels per em. Pillow's basic layout, so that print does not depend on libraqm."""
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1 << 20)
def advance(path: Path, size: float, character: str) -> float:
    """How far the pen moves over one character."""
    return float(load_font(path, size).getlength(character))


@cache
def shows(path: Path, character: str) -> bool:
    """Whether the font has a shape of its own for a character."""
    font = load_font(path, 20)
    mask = font.getmask(character)
    return mask.getbbox() is not None and bytes(mask) != bytes(font.getmask("\uffff"))
