"""Any PDF is training data: its pages as pictures at any scale, with the exact place of every character.

    image, printed = pdf_page("manual.pdf", number=3, width=672)
    printed.texts()

Faults of a file are told in one sentence.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import pypdfium2
from numpy.typing import NDArray
from PIL import Image

from llava.pages.characters import NONE, character_class
from llava.pages.print import DEPTH, Floats, Print

Bools = NDArray[np.bool_]

_FINE, _FAR = 64, 500.0
"""PDFium gives places as whole pixels; they are asked for on a page so many times larger, and so many points apart."""
_LEVEL = 3.0
"""Print that leans more than so many degrees is not read."""


@contextmanager
def open_pdf(path: str | PathLike[str]) -> Iterator[pypdfium2.PdfDocument]:
    """The document, closed afterwards.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no PDF that can be opened.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no PDF {path}")
    try:
        document = pypdfium2.PdfDocument(Path(path))
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"{path} cannot be opened as a PDF ({error}); leave it out") from error
    try:
        yield document
    finally:
        document.close()


def pdf_page(
    path: str | PathLike[str], number: int = 1, *, width: int | None = None, scale: float | None = None
) -> tuple[Image.Image, Print]:
    """One page of a PDF and its print.

    Args:
        number: of the page, counted from 1.
        width: of the picture in pixels; or give ``scale`` in pixels per point (1/72 inch).

    Raises:
        FileNotFoundError, ValueError: as ``open_pdf``; for a page that is not there or cannot be drawn.
    """
    with open_pdf(path) as document:
        if not 1 <= number <= len(document):
            raise ValueError(f"{path} has {len(document)} pages and no page {number}")
        return read_page(document, number - 1, width=width, scale=scale)


def read_page(
    document: pypdfium2.PdfDocument, index: int, *, width: int | None = None, scale: float | None = None
) -> tuple[Image.Image, Print]:
    """Page ``index``, counted from 0, of an open document; else as ``pdf_page``.

    Raises:
        ValueError: if neither or both of ``width`` and ``scale`` are given, or the page cannot be drawn.
    """
    if (width is None) == (scale is None):
        raise ValueError("give either the width of the picture or its scale")
    try:
        page = document[index]
        points = page.get_width()
        factor = scale if scale is not None else float(width or 0) / points
        image = page.render(scale=factor, rev_byteorder=True).to_pil().convert("RGB")
        return image, _page_print(page, image.width, image.height)
    except (pypdfium2.PdfiumError, ZeroDivisionError) as error:
        raise ValueError(f"page {index + 1} cannot be drawn ({error}); leave it out") from error


def _page_print(page: pypdfium2.PdfPage, width: int, height: int) -> Print:
    """The print of a page that is drawn ``width`` x ``height`` pixels large."""
    characters, places = _read_characters(page)
    matrix, offset = _to_pixels(page, width, height)
    corners = [places[:, columns] @ matrix + offset for columns in ([0, 1], [2, 3], [4, 5])]
    (x0, y0), (x1, y1), (_, base) = (corner.T for corner in corners)
    left, right = np.minimum(x0, x1), np.maximum(x0, x1)
    # Where a text's own matrix puts an em's height, in pixels.
    rise = places[:, 8:10] * places[:, 10:] @ matrix
    run = places[:, 6:8] @ matrix
    size = np.hypot(*rise.T)
    level = (np.abs(np.degrees(np.arctan2(run[:, 1], run[:, 0]))) < _LEVEL) & (rise[:, 1] < 0)
    # What stands another way has its whole box left out.
    size = np.where(level, size, np.maximum(np.abs(y1 - y0), 1.0))
    base = np.where(level, base, np.maximum(y0, y1) - DEPTH * size)
    shown = (characters != " ") & (right > left) & (size > 0)
    return Print(
        classes=np.where(level, [character_class(each) for each in characters], NONE)[shown].astype(np.int64),
        left=left[shown],
        right=right[shown],
        base=base[shown],
        size=size[shown],
        word=_words(characters == " ", left, right, base, size)[shown],
    )


def _words(blank: Bools, left: Floats, right: Floats, base: Floats, size: Floats) -> NDArray[np.int64]:
    """Which word each character belongs to: another one begins behind a blank or a gap, and on another line."""
    last = np.maximum(np.arange(len(blank)) - 1, 0)
    gap = left - right[last]
    begins = blank | blank[last] | (np.abs(base - base[last]) > 0.3 * size[last])
    begins |= (gap < -0.3 * size[last]) | (gap > 0.22 * size[last])
    return np.cumsum(begins)


def _read_characters(page: pypdfium2.PdfPage) -> tuple[NDArray[np.str_], Floats]:
    """Every character of a page, blanks for what is none, and in points of the page two corners of its box, its origin,
    the x and y directions of its text and the size of its font: (characters, 11)."""
    raw = pypdfium2.raw
    text = page.get_textpage()
    count = raw.FPDFText_CountChars(text)
    characters = np.full(count, " ")
    places = np.zeros((count, 11))
    x, y, matrix, box = ctypes.c_double(), ctypes.c_double(), raw.FS_MATRIX(), raw.FS_RECTF()
    for index in range(count):
        code = raw.FPDFText_GetUnicode(text, index)
        if not 32 < code < 0x110000 or 0xD800 <= code < 0xE000 or raw.FPDFText_IsGenerated(text, index) == 1:
            continue
        if chr(code).isspace() or not raw.FPDFText_GetLooseCharBox(text, index, box):
            continue
        raw.FPDFText_GetCharOrigin(text, index, x, y)
        raw.FPDFText_GetMatrix(text, index, matrix)
        characters[index] = chr(code)
        size = raw.FPDFText_GetFontSize(text, index)
        places[index] = (
            *(box.left, box.bottom, box.right, box.top, x.value, y.value),
            *(matrix.a, matrix.b, matrix.c, matrix.d, size),
        )
    return characters, places


def _to_pixels(page: pypdfium2.PdfPage, width: int, height: int) -> tuple[Floats, Floats]:
    """(2, 2) and (2,): points of the page times the one plus the other are pixels of its picture."""
    raw = pypdfium2.raw
    across, down = ctypes.c_int(), ctypes.c_int()
    found = []
    for x, y in ((0.0, 0.0), (_FAR, 0.0), (0.0, _FAR)):
        raw.FPDF_PageToDevice(page, 0, 0, width * _FINE, height * _FINE, 0, x, y, across, down)
        found.append((across.value / _FINE, down.value / _FINE))
    origin, right, up = np.array(found)
    return np.stack([right - origin, up - origin]) / _FAR, origin
