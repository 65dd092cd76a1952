"""PDF pages, as the process that draws them sees them; PDFium is not told of any file elsewhere."""

import ctypes
import math
import mmap
import re
from typing import Any, BinaryIO

import pypdfium2
import pypdfium2.raw as raw

from llava.image_io.left_out import find_left_out
from llava.image_io.refusal import Refusal

_NAME = "it"  # the parent knows the file's name
_PRINT = "print it to a new PDF"
_FEATURES = {
    raw.FPDF_UNSP_DOC_PORTABLECOLLECTION: "a portfolio of other files",
    raw.FPDF_UNSP_DOC_ATTACHMENT: "attached files",
}
_XFA = (raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND)
_DYNAMIC = re.compile(rb"<dynamicRender>\s*required")
_UNIT = (0.0, 0.0, 1.0, 1.0)
_SEARCHED_PAGES = 100
"""Pages that are looked through for a form's fields."""


class PdfFile:
    """One open PDF."""

    def __init__(self, file: BinaryIO) -> None:
        self._features: set[int] = set()
        watch = pypdfium2.PdfUnspHandler()
        watch.setup(add_default=False)
        watch.handlers["here"] = self._features.add
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        data = (ctypes.c_char * len(mapped)).from_buffer(mapped)
        try:
            self._document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise Refusal(_NAME, *_explain(data)) from error
        self._form = self._document.get_formtype()
        if self._form in _XFA and self._is_dynamic():
            fault = "it is an XFA form, and the form's contents cannot be drawn"
            raise Refusal(_NAME, fault, "open it in Adobe Reader and print it to a new PDF")
        self._document.init_forms()  # what people typed into a form is drawn only with this
        self._page: tuple[int, pypdfium2.PdfPage] | None = None

    def facts(self) -> dict[str, Any]:
        """How many pages there are."""
        return {"count": len(self._document), "damaged": False}

    def size(self, number: int) -> tuple[dict[str, Any], Any]:
        """Width and height of page ``number``, counted from 1, in points."""
        page = self._load(number)
        width, height = page.get_size()
        held = page.get_mediabox(fallback_ok=False)
        # PDFium takes US Letter for a page whose own box is empty.
        empty = held is not None and not _is_area(held)
        if empty or not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
            raise Refusal(_NAME, f"the boxes of page {number} leave nothing of it to be seen", _PRINT)
        return {"size": (width, height)}, b""

    def draw(self, number: int, scale: float) -> tuple[dict[str, Any], Any]:
        """Page ``number`` at so many pixels per point: rows of blue, green and red, and what they leave out."""
        page = self._load(number)
        try:
            bitmap = page.render(scale=scale)
        except pypdfium2.PdfiumError as error:
            raise Refusal(_NAME, f"page {number} cannot be drawn ({error})", _PRINT) from error
        notes = [
            f"it holds {what}, which cannot be shown" for code, what in _FEATURES.items() if code in self._features
        ]
        if self._form in _XFA:
            notes.append("it is an XFA form, of which only the plain fields are drawn; their values may differ")
        if not _is_area(page.get_cropbox(fallback_ok=False) or _UNIT):
            notes.append("its crop box is empty, so that the whole page is shown")
        notes += [note for note in find_left_out(page) if note not in notes]
        size, stride = (bitmap.width, bitmap.height), bitmap.stride
        return {"size": size, "stride": stride, "notes": notes}, bitmap.buffer

    def _load(self, number: int) -> pypdfium2.PdfPage:
        if self._page is None or self._page[0] != number:
            try:
                self._page = number, self._document[number - 1]
            except pypdfium2.PdfiumError as error:
                raise Refusal(_NAME, f"page {number} of the PDF is damaged", "choose another page") from error
        return self._page[1]

    def _is_dynamic(self) -> bool:
        """Whether an XFA form's pages are made by the reader, so that those in the file are stand-ins.

        By the entry ``NeedsRendering`` (ISO 32000-1, 12.7.8), by ``dynamicRender`` (XFA 3.3, Adobe, 2012), or because
        the pages in the file have no fields.
        """
        if self._form == raw.FORMTYPE_XFA_FULL or _DYNAMIC.search(_xfa_text(self._document)):
            return True
        numbers = range(min(len(self._document), _SEARCHED_PAGES))
        return not any(_has_field(self._document, number) for number in numbers)


def _is_area(box: tuple[float, float, float, float]) -> bool:
    left, bottom, right, top = box
    return all(math.isfinite(each) for each in box) and left != right and bottom != top


def _xfa_text(document: pypdfium2.PdfDocument) -> bytes:
    text = b""
    length = ctypes.c_ulong()
    for index in range(max(0, raw.FPDF_GetXFAPacketCount(document))):
        if raw.FPDF_GetXFAPacketContent(document, index, None, 0, length):
            content = ctypes.create_string_buffer(length.value)
            raw.FPDF_GetXFAPacketContent(document, index, content, length.value, length)
            text += content.raw
    return text


def _has_field(document: pypdfium2.PdfDocument, number: int) -> bool:
    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return False
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET:
            return True
    return False


def _explain(data: Any) -> tuple[str, str]:
    # pypdfium2 also raises for a sound PDF without pages, and its error code is then left over from an earlier file.
    document = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if document:
        raw.FPDF_CloseDocument(document)
        return "the PDF has no pages", "download or export it again"
    if raw.FPDF_GetLastError() in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
        return "the PDF is encrypted", "save a copy without a password"
    return "the PDF is damaged", "download or export it again"
