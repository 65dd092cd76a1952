"""Where on a finished page a text stands, as PDFium tells it.

Boxes are (x0, y0, x1, y1) from 0 to 1 of the page.
"""

import ctypes
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

import pypdfium2
import pypdfium2.raw as raw

Box = tuple[float, float, float, float]
VIEW = 672
"""Pixels of the longer side of the view in which print is measured."""
_LIKE = str.maketrans(dict(zip("\u2010\u2011\u2212\u2019\u2018\u00a0\u202f", "---''  ", strict=True)))


@dataclass(frozen=True, kw_only=True)
class Letters:
    """All printed characters of a page in PDFium's order, a ligature as its letters."""

    text: str
    boxes: Sequence[Box]
    sizes: Sequence[float]
    """Heights of ems in pixels of the view."""
    begins: frozenset[int]
    """Places at which a word may begin; the end of the text is one."""

    def find(self, words: str, *, flags: int = 0) -> list[Box]:
        """Every place where the words stand as whole words, whatever blanks are between them."""
        wanted = "".join(_plain(words).split())
        places = [found.start() for found in re.finditer(f"(?={re.escape(wanted)})", self.text, flags)]
        return [
            around(self.boxes[place : place + len(wanted)])
            for place in places
            if self._begins_word(place) and self._ends_word(place + len(wanted))
        ]

    def _begins_word(self, place: int) -> bool:
        return place in self.begins or (place - 1 in self.begins and self.text[place - 1] in "(“")

    def _ends_word(self, place: int) -> bool:
        return place in self.begins or (place + 1 in self.begins and self.text[place] in ",.:;)”")

    @property
    def size(self) -> float:
        """The middle one of all sizes of print."""
        return median(self.sizes)


def read_letters(page: pypdfium2.PdfPage) -> Letters:
    """The characters of a page, with what separates words left out."""
    width, height = page.get_size()
    text, scale = page.get_textpage(), VIEW / max(width, height)
    letters: list[str] = []
    boxes: list[Box] = []
    sizes: list[float] = []
    begins = {0}
    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    for index in range(raw.FPDFText_CountChars(text)):
        code = raw.FPDFText_GetUnicode(text, index)
        sign = chr(code) if 32 < code < 0x110000 and not 0xD800 <= code < 0xE000 else " "
        if code == 2:  # how PDFium tells a hyphen at a line's end
            sign = "-"
        if sign.isspace() or not raw.FPDFText_GetLooseCharBox(text, index, ctypes.byref(box)):
            begins.add(len(letters))
            continue
        raw.FPDFText_GetMatrix(text, index, ctypes.byref(matrix))
        place = (box.left / width, 1 - box.top / height, box.right / width, 1 - box.bottom / height)
        if boxes and _apart(boxes[-1], place, width / height):
            begins.add(len(letters))
        size = raw.FPDFText_GetFontSize(text, index) * max(abs(matrix.d), abs(matrix.b)) * scale
        for letter in _plain(sign):
            letters.append(letter)
            boxes.append(place)
            sizes.append(size)
    return Letters(text="".join(letters), boxes=boxes, sizes=sizes, begins=frozenset({*begins, len(letters)}))


def _plain(words: str) -> str:
    return unicodedata.normalize("NFKC", words.translate(_LIKE)).translate(_LIKE)


def _apart(first: Box, second: Box, shape: float) -> bool:
    """Whether two characters that follow each other on a page of this width over height belong to different words."""
    tall, gap = max(first[3] - first[1], second[3] - second[1]), (second[0] - first[2]) * shape
    return abs(first[3] - second[3]) > 0.5 * tall or not -0.5 * tall < gap < 0.5 * tall


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return max(0.0, min(lefts)), max(0.0, min(tops)), min(1.0, max(rights)), min(1.0, max(bottoms))


def find_together(letters: Letters, answer: str, beside: Sequence[str]) -> tuple[Box, list[Box]]:
    """The answer and what stands beside it, chosen so that they are on common lines and columns.

    Raises:
        ValueError: if one of them is not on the page.
    """
    found = [letters.find(words) for words in (answer, *beside)]
    for words, places in zip((answer, *beside), found, strict=True):
        if not places:
            raise ValueError(f"{words!r} is not printed")
    return min(
        ((place, list(labels)) for place, *labels in product(*(places[:40] for places in found))),
        key=lambda pair: sum(_distance(pair[0], label) for label in pair[1]),
    )


def _distance(answer: Box, label: Box) -> float:
    """Small on one line with the label and below it; less so the nearer they are."""
    if answer == label:
        return 2.0
    across = max(0.0, label[0] - answer[2], answer[0] - label[2])
    down = max(0.0, label[1] - answer[3], answer[1] - label[3])
    line = abs(answer[1] + answer[3] - label[1] - label[3]) / 2
    behind = 0.3 if answer[2] < label[0] else 0.0
    above = 0.3 if answer[3] <= label[1] else 0.0
    return min(4 * line + 0.2 * across + behind, 4 * across + 0.4 * down + above)
