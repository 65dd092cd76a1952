"""How large and how hard a page is: the rungs that a small model climbs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llava.pages.lexicon import FULL, SHORT, SMALL, Lexicon
from llava.pages.looks import SHIFTED_LOOK, TRAIN_LOOK, Look
from llava.pages.theme import Looks
from llava.pages.wear import USUAL_WEAR, Wear


@dataclass(frozen=True, kw_only=True)
class PageStyle:
    """Sizes in pixels. A larger ``side`` with the same prints gives more of the same size, not larger print.

    Raises:
        ValueError: if the page is too small for its print, or nothing could be asked.
    """

    name: str
    side: int = 672
    print_size: tuple[int, int] = (9, 15)
    """Smallest and largest size of print, per em."""
    pitch: int = 0
    """Pixels per character of documents and charts that are typed on a raster; 0 for print as it falls."""
    cell: tuple[int, int] = (38, 44)
    """Smallest and largest cell of an entity grid."""
    codes: bool = True
    """Entities carry printed codes, and most questions name those."""
    filled: bool = True
    """Entity grids fill the page; else they may be as small as two by two."""
    panels: int = 4
    """Charts on a page."""
    num_questions: int = 6
    """Most questions per page."""
    kinds: frozenset[str] | None = None
    """Kinds of question that may be asked; None for all."""
    noise: int = 6
    """Largest darkening of a pixel, in levels of 255."""
    lexicon: Lexicon = FULL
    """Words of documents and charts."""
    look: Look = TRAIN_LOOK
    looks: Looks | None = None
    """What freely printed pages look like; None for pages on a raster of pixels."""
    wear: Wear = USUAL_WEAR
    """What happens to freely printed pages."""
    free_wordings: float = 0.0
    """Share of questions that are put in one of hundreds of ways, instead of in a wording of the look."""
    slips: float = 0.0
    """Share of questions with a slip of the keyboard."""

    def __post_init__(self) -> None:
        if not 6 <= self.print_size[0] <= self.print_size[1] or self.side < 9 * self.print_size[1]:
            raise ValueError(
                f"print_size must go up from 6 and fit 9 times into side, got {self.print_size}, {self.side}"
            )
        least = max(24, self.print_size[1] + 6)
        if not least <= self.cell[0] <= self.cell[1] or self.side < 3 * self.cell[1]:
            raise ValueError(f"cell must go up from {least} and fit 3 times into side, got {self.cell}, {self.side}")
        if self.num_questions < 1 or self.panels not in (1, 4):
            raise ValueError(
                f"num_questions must be positive and panels 1 or 4, got {self.num_questions}, {self.panels}"
            )
        unknown = (self.kinds or frozenset()) - set(self.look.wordings)
        if unknown or self.kinds == frozenset():
            raise ValueError(f"kinds must name some of {sorted(self.look.wordings)}, got {sorted(self.kinds or ())}")

    def for_split(self, split: str) -> "PageStyle":
        """The style with the look of a split: one for ``shifted`` and ``wild``, another for all others."""
        shifted = split in ("shifted", "wild")
        looks = None if self.looks is None else replace(self.looks, held_out=shifted)
        look, free = (SHIFTED_LOOK, 0.0) if shifted else (TRAIN_LOOK, self.free_wordings)
        return replace(self, look=look, looks=looks, free_wordings=free)


_SHAPES = PageStyle(
    name="shapes",
    side=168,
    print_size=(14, 18),
    pitch=7,
    cell=(40, 50),
    codes=False,
    filled=False,
    panels=1,
    num_questions=4,
    noise=4,
    lexicon=SMALL,
)
_TYPED = replace(_SHAPES, name="typed", side=336, cell=(34, 42), filled=True, num_questions=6, lexicon=SHORT)
_PRINT = PageStyle(name="print", looks=Looks(), free_wordings=0.75, slips=0.06)
STYLES: Mapping[str, PageStyle] = {
    "shapes": _SHAPES,
    "large_print": replace(
        _SHAPES, name="large_print", side=336, print_size=(14, 20), pitch=0, cell=(44, 56), lexicon=FULL
    ),
    "typed": _TYPED,
    "typed_full": replace(_TYPED, name="typed_full", side=672, panels=4),
    "full": PageStyle(name="full"),
    "print": _PRINT,
    "print_small": replace(_PRINT, name="print_small", looks=Looks(side=336, sizes=(9.0, 15.0))),
}
"""From the first rung to the last. Print of ``shapes``, ``typed`` and ``typed_full`` has one size, two characters to a
patch of 14 pixels."""
