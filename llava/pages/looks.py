"""How pages look and speak: one look for most splits, another, with nothing shared, for ``shifted``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from llava.constants import ASSETS
from llava.pages.page import HUES, RGB
from llava.pages.wordings import SHIFTED_WORDINGS, WORDINGS

_SHIPPED = ASSETS / "fonts"


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colors of one page."""

    paper: RGB
    tint: RGB
    """Every other row, cells and bands: too near the paper to count as ink."""
    rule: RGB
    """Lines."""
    colors: Mapping[str, RGB]
    """One for each name of ``COLORS``."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a split may draw from."""

    name: str
    fonts: tuple[str, ...]
    """File names, shipped or among matplotlib's DejaVu faces."""
    palettes: tuple[Palette, ...]
    grid_layouts: tuple[str, ...]
    chart_layouts: tuple[str, ...]
    doc_layouts: tuple[str, ...]
    wordings: Mapping[str, tuple[str, ...]]
    """Question templates by kind."""


@lru_cache(maxsize=32)
def font_path(name: str) -> Path:
    """Where the font file is.

    Raises:
        ValueError: if it is neither shipped nor among matplotlib's.
    """
    folders = [_SHIPPED]
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.submodule_search_locations:
        folders.append(Path(matplotlib.submodule_search_locations[0], "mpl-data", "fonts", "ttf"))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"font {name} is in none of {', '.join(map(str, folders))}; install matplotlib for DejaVu")


def _palette(ground: str, ink: str, hues: str) -> Palette:
    """Hexadecimal colors: paper, tint and rule; black, gray and white; and one for each of ``HUES`` in their order."""
    paper, tint, rule = map(_rgb, ground.split())
    names = (*HUES, "black", "gray", "white")
    colors = dict(zip(names, map(_rgb, (hues + " " + ink).split()), strict=True))
    return Palette(paper=paper, tint=tint, rule=rule, colors=colors)


def _rgb(code: str) -> RGB:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


TRAIN_LOOK = Look(
    name="train",
    fonts=(
        "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "LiberationSans-Regular.ttf",
        "LiberationSans-Bold.ttf", "LiberationSerif-Regular.ttf", "LiberationMono-Regular.ttf", "Roboto-Regular.ttf",
        "OpenSans-Regular.ttf", "Caladea-Regular.ttf", "Cabin-Regular.otf",
    ),
    palettes=(
        _palette(
            "ffffff eef2f6 9aa5b1", "1f2933 5b6773 ffffff",
            "d62728 ff7f0e f2c400 2ca02c 1f77b4 7e3fa8 f06fb4 8c564b",
        ),
        _palette(
            "fbfaf7 f0ece2 a39b8b", "26221c 6b6459 fefefc",
            "c8442f e08a2c e5b920 3d8f57 2f6db5 6a3d9a e58bb5 7f5138",
        ),
        _palette(
            "fdfdfd f1f1f1 8c8c8c", "000000 666666 fdfdfd",
            "e6000f ff8c1a ffd60a 00a043 0050e0 8000c0 ff69c0 80461b",
        ),
        _palette(
            "f4f8fb e6eef5 8fa3b5", "14213d 53657d fafcff",
            "b5182f e8751a dfaa08 1c8a5c 2a52be 663399 e86aa6 79443b",
        ),
        _palette(
            "fffdf2 f7f1da a89f7c", "2b2b1f 68664f fffefa",
            "cc2936 f07c1e eac212 4c9a2a 3066be 74408e f283b6 6f4e37",
        ),
    ),
    grid_layouts=("ruled top-left", "tiles top-left", "open top-left"),
    chart_layouts=("legend top", "legend right"),
    doc_layouts=("title form table text", "title text table text", "title table", "title form text", "form table"),
    wordings=WORDINGS,
)  # fmt: skip

SHIFTED_LOOK = Look(
    name="shifted",
    fonts=(
        "ComicNeue-Bold.otf", "CourierPrime-Regular.otf", "Dosis-Medium.otf", "Play-Regular.ttf",
        "Quattrocento-Regular.otf", "Tuffy-Regular.ttf",
    ),
    palettes=(
        _palette(
            "f3fbf4 e2f0e4 93a896", "1b2a1f 566b5b f8fdf8",
            "d93a4a ef8b3c ecc94b 38a169 3182ce 805ad5 ed64a6 8b5e34",
        ),
        _palette(
            "faf5fb eee4f0 a497a8", "2a1f2d 6d5f70 fdfafd",
            "bf1e2e dd7a22 d8b415 2e8540 205493 5b2a86 d96ba0 6b3e26",
        ),
    ),
    grid_layouts=("checker bottom-right", "dotted bottom-left"),
    chart_layouts=("legend bottom", "legend left"),
    doc_layouts=("text stack zebra", "zebra stack text", "stack text", "text zebra text"),
    wordings=SHIFTED_WORDINGS,
)  # fmt: skip
