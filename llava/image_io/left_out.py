"""What a PDF page holds that PDFium draws differently, or not at all."""

import ctypes
from collections.abc import Iterator
from typing import Any

import pypdfium2
import pypdfium2.raw as raw

_MOST_OBJECTS = 20_000
"""Of a page, that are looked at: enough for any print, and soon done."""
_MOST_PIXELS = 50_000_000
"""Of a page's pictures, that are decoded a second time to see whether they can be."""
_DEEPEST = 16
_SHOWN = 3
"""Names in a note."""

_FAMILIES = ("arial", "helvetica", "courier", "couriernew", "times", "timesnewroman", "symbol", "zapfdingbats")
"""The standard 14 fonts, which every reader brings along, and the other names that they go by (PDF Reference 1.7,
section 5.5.1 and note 62 of appendix H)."""
_STYLES = ("bold", "italic", "oblique", "roman", "regular", "psmt", "mt", "ps")


def find_left_out(page: pypdfium2.PdfPage) -> list[str]:
    """Notes on the fonts and pictures of a page."""
    fonts: dict[int, str] = {}
    filters: list[str] = []
    pixels = broken = 0
    for thing in _things(page):
        kind = raw.FPDFPageObj_GetType(thing)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            font = raw.FPDFTextObj_GetFont(thing)
            place = ctypes.cast(font, ctypes.c_void_p).value or 0
            if place not in fonts:
                fonts[place] = "" if raw.FPDFFont_GetIsEmbedded(font) else _font_name(font)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            width, height = ctypes.c_uint(), ctypes.c_uint()
            raw.FPDFImageObj_GetImagePixelSize(thing, width, height)
            pixels += width.value * height.value
            if pixels <= _MOST_PIXELS and not _decodes(thing):
                broken += 1
                filters += _filters(thing)
    notes = []
    if names := sorted({name for name in fonts.values() if name and not _is_standard(name)}):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        notes.append(f"fonts that are not embedded are drawn with others: {', '.join(names[:_SHOWN])}{more}")
    if broken:
        how = f" ({', '.join(dict.fromkeys(filters))})" if filters else ""
        what = "a picture cannot be decoded and is" if broken == 1 else f"{broken} pictures cannot be decoded and are"
        notes.append(f"{what} left out{how}")
    return notes


def _things(page: pypdfium2.PdfPage) -> Iterator[Any]:
    """The objects of a page, and of the forms in it."""
    stack = [(raw.FPDFPage_GetObject(page, index), 0) for index in range(_some(raw.FPDFPage_CountObjects(page)))]
    for _ in range(_MOST_OBJECTS):
        if not stack:
            return
        thing, depth = stack.pop()
        if raw.FPDFPageObj_GetType(thing) == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            held = range(_some(raw.FPDFFormObj_CountObjects(thing), _MOST_OBJECTS - len(stack)))
            stack += [(raw.FPDFFormObj_GetObject(thing, index), depth + 1) for index in held]
        yield thing


def _some(count: int, most: int = _MOST_OBJECTS) -> int:
    return max(0, min(count, most))


def _font_name(font: Any) -> str:
    text = ctypes.create_string_buffer(256)
    raw.FPDFFont_GetBaseFontName(font, text, len(text))
    return text.value.decode("utf-8", "replace").split("+")[-1] or "one without a name"


def _is_standard(name: str) -> bool:
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    for style in _STYLES:
        plain = plain.replace(style, "")
    return plain in _FAMILIES or plain in {family.replace("roman", "") for family in _FAMILIES}


def _decodes(picture: Any) -> bool:
    bitmap = raw.FPDFImageObj_GetBitmap(picture)
    if not bitmap:
        return False
    raw.FPDFBitmap_Destroy(bitmap)
    return True


def _filters(picture: Any) -> list[str]:
    text = ctypes.create_string_buffer(64)
    names = []
    for index in range(raw.FPDFImageObj_GetImageFilterCount(picture)):
        raw.FPDFImageObj_GetImageFilter(picture, index, text, len(text))
        names.append(text.value.decode("utf-8", "replace"))
    return names
