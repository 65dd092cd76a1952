"""Pages by number: the same family, split, seed and index give the same page on every machine."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from llava.pages import chart_page, doc_page, entity_grid
from llava.pages.page import Page
from llava.pages.style import STYLES, PageStyle

Drawer = Callable[[np.random.Generator, PageStyle], Page]

SPLITS = ("train", "validation", "test", "shifted", "wild")
"""``validation`` and ``test`` look like ``train`` and have other seeds; ``shifted`` looks like none of them.

``wild`` has drawers of its own, which the benchmarks bring along (``llava.eval.benchmarks.wild``). A split's place here
decides its random numbers: another one goes to the end.
"""
FAMILIES: Mapping[str, Drawer] = {
    "entity_grid": entity_grid.draw,
    "chart_page": chart_page.draw,
    "doc_page": doc_page.draw,
}
_ATTEMPTS = 50


def page_generator(family: str, split: str, seed: int, index: int) -> np.random.Generator:
    """The generator of one page. Different arguments give independent streams, so splits cannot share a page.

    Raises:
        ValueError: if the family or the split is unknown, or a number is negative.
    """
    if family not in FAMILIES:
        raise ValueError(f"there is no family {family!r}; use one of {', '.join(FAMILIES)}")
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; use one of {', '.join(SPLITS)}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    key = (list(FAMILIES).index(family), SPLITS.index(split), index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def draw_page(
    family: str,
    split: str,
    seed: int,
    index: int,
    style: PageStyle = STYLES["full"],
    *,
    drawers: Mapping[str, Drawer] = FAMILIES,
) -> Page:
    """The page with this number, drawn anew if chance made one without a question of an allowed kind.

    The pixels also depend on the version of Pillow, whose FreeType draws the print, and wild ones on matplotlib's.

    Args:
        drawers: what draws the pages of each family in this split.

    Raises:
        ValueError: as ``page_generator``, if nothing draws pages of the family in this split, and if no question of
            ``style.kinds`` belongs to the family.
    """
    rng, draw = page_generator(family, split, seed, index), _drawer(family, split, drawers)
    style = style.for_split(split)
    for _ in range(_ATTEMPTS):
        page = draw(rng, style)
        if page.questions:
            return page
    raise ValueError(f"{family} found nothing to ask of the kinds {sorted(style.kinds or ())}; allow others")


def _drawer(family: str, split: str, drawers: Mapping[str, Drawer]) -> Drawer:
    """What draws the pages of a known family and split."""
    if split == "wild" and drawers is FAMILIES:
        raise ValueError("wild pages have drawers of their own: pass those of llava.eval.benchmarks.wild")
    if family not in drawers:
        raise ValueError(f"{family} has no {split} pages; {' and '.join(drawers)} have")
    return drawers[family]


class PageStream:
    """The pages of one family, split and seed from number ``start`` on, without end.

    Args:
        style: a ``PageStyle`` or the name of one of ``STYLES``; the split decides its look.
        drawers: as for ``draw_page``.

    Raises:
        ValueError: as ``draw_page``, and if no style has this name.
    """

    def __init__(
        self,
        family: str,
        split: str,
        seed: int,
        start: int = 0,
        *,
        style: PageStyle | str = "full",
        drawers: Mapping[str, Drawer] = FAMILIES,
    ) -> None:
        if isinstance(style, str) and style not in STYLES:
            raise ValueError(f"there is no style {style!r}; use one of {', '.join(STYLES)}")
        page_generator(family, split, seed, start)
        _drawer(family, split, drawers)
        self.family, self.split, self.seed, self.start, self.drawers = family, split, seed, start, drawers
        self.style = STYLES[style] if isinstance(style, str) else style

    def __getitem__(self, index: int) -> Page:
        """Page number ``index``, counted from the beginning of the split and not from ``start``."""
        return draw_page(self.family, self.split, self.seed, index, self.style, drawers=self.drawers)

    def __iter__(self) -> Iterator[Page]:
        index = self.start
        while True:
            yield self[index]
            index += 1
