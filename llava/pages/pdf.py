"""Any PDF is training data: its pages as pictures at any scale, with the exact place of every character.

image, printed = pdf_page("manual.pdf", number=3, width=672)
printed.texts()
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from math import atan2, degrees, hypot
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
from PIL import Image

from llava.pages.characters import NONE, character_class
from llava.pages.print import Print

_FINE = 64
"""PDFium gives places as whole pixels; they are asked for on a page so many times larger."""
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
    raw = pypdfium2.raw
    text = page.get_textpage()
    rows: list[tuple[int, float, float, float, float, int]] = []
    word, before = 0, (0.0, 0.0, 0.0)
    for index in range(raw.FPDFText_CountChars(text)):
        code = raw.FPDFText_GetUnicode(text, index)
        character = chr(code) if 32 < code < 0x110000 and not 0xD800 <= code < 0xE000 else " "
        if character.isspace() or raw.FPDFText_IsGenerated(text, index) == 1:
            word += 1
            continue
        place = _character(page, text, index, width, height)
        if place is None:
            continue
        left, right, base, size, level = place
        last_right, last_base, last_size = before
        if abs(base - last_base) > 0.3 * last_size or not -0.3 * last_size < left - last_right < 0.22 * last_size:
            word += 1
        before = (right, base, size)
        rows.append((character_class(character) if level else NONE, left, right, base, size, word))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    _, words = np.unique(table[:, 5], return_inverse=True)
    return Print(
        classes=table[:, 0].astype(np.int64),
        left=table[:, 1],
        right=table[:, 2],
        base=table[:, 3],
        size=table[:, 4],
        word=words.astype(np.int64),
    )


def _character(
    page: pypdfium2.PdfPage, text: Any, index: int, width: int, height: int
) -> tuple[float, float, float, float, bool] | None:
    """Left, right, baseline and em of a character in pixels, and whether it stands upright; None if it is nowhere."""
    raw = pypdfium2.raw
    x, y, matrix, box = ctypes.c_double(), ctypes.c_double(), raw.FS_MATRIX(), raw.FS_RECTF()
    if not raw.FPDFText_GetCharOrigin(text, index, x, y) or not raw.FPDFText_GetLooseCharBox(text, index, box):
        return None
    raw.FPDFText_GetMatrix(text, index, matrix)
    em = raw.FPDFText_GetFontSize(text, index) * (hypot(matrix.c, matrix.d) or 1.0)
    x0, y0 = _to_pixels(page, width, height, box.left, box.bottom)
    x1, y1 = _to_pixels(page, width, height, box.right, box.top)
    origin = _to_pixels(page, width, height, x.value, y.value)
    above = _to_pixels(page, width, height, x.value, y.value + em)
    size = hypot(above[0] - origin[0], above[1] - origin[1])
    upright = abs(degrees(atan2(matrix.b, matrix.a or 1e-9))) < _LEVEL and above[1] < origin[1]
    left, right = min(x0, x1), max(x0, x1)
    if size <= 0 or right <= left:
        return None
    if not upright:
        # Its whole box is left out, whatever way it stands.
        return left, right, max(y0, y1), max(abs(y1 - y0), 1.0), False
    return left, right, origin[1], size, True


def _to_pixels(page: pypdfium2.PdfPage, width: int, height: int, x: float, y: float) -> tuple[float, float]:
    raw = pypdfium2.raw
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, width * _FINE, height * _FINE, 0, x, y, across, down)
    return across.value / _FINE, down.value / _FINE
