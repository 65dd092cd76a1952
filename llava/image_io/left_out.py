"""What a PDF page holds that PDFium draws differently, or not at all."""

import ctypes
from collections.abc import Iterator
from typing import Any

import pypdfium2
import pypdfium2.raw as raw

_MOST_OBJECTS = 20_000
"""Of a page, that are looked at: enough for any print, and soon done."""
_MOST_ANNOTATIONS = 1000
_MOST_PIXELS = 50_000_000
"""Of a page's pictures, that are decoded a second time to see whether they can be."""
_DEEPEST = 16
_SHOWN = 3
"""Names in a note."""

_FAMILIES = ("arial", "helvetica", "courier", "couriernew", "times", "timesnewroman", "symbol", "zapfdingbats")
"""The standard 14 fonts, which every reader brings along, and the other names that they go by (PDF Reference 1.7,
section 5.5.1 and note 62 of appendix H)."""
_MEDIA = {
    raw.FPDF_ANNOT_THREED: "a 3D drawing",
    raw.FPDF_ANNOT_MOVIE: "a film",
    raw.FPDF_ANNOT_SOUND: "a sound",
    raw.FPDF_ANNOT_SCREEN: "media",
    raw.FPDF_ANNOT_RICHMEDIA: "media",
    raw.FPDF_ANNOT_FILEATTACHMENT: "attached files",
}
_UNSEEN = (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_WIDGET)
"""Annotations that need no appearance: the last one's is made by the form."""
_HIDDEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_CODECS = ("DCTDecode", "JPXDecode", "JBIG2Decode", "CCITTFaxDecode", "DCT", "CCF")
"""Filters whose output is a picture, not its rows."""
_STYLES = ("bold", "italic", "oblique", "roman", "regular", "psmt", "mt", "ps")


def find_left_out(page: pypdfium2.PdfPage) -> list[str]:
    """Notes on the fonts and pictures of a page."""
    fonts: dict[int, str] = {}
    filters: list[str] = []
    pixels = broken = cut = 0
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
            if pixels > _MOST_PIXELS:
                continue
            if not _decodes(thing):
                broken += 1
                filters += _filters(thing)
            elif _lacks_rows(thing, page):
                cut += 1
    notes = _annotations(page)
    if names := sorted({name for name in fonts.values() if name and not _is_standard(name)}):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        notes.append(f"fonts that are not embedded are drawn with others: {', '.join(names[:_SHOWN])}{more}")
    if broken:
        how = f" ({', '.join(dict.fromkeys(filters))})" if filters else ""
        what = "a picture cannot be decoded and is" if broken == 1 else f"{broken} pictures cannot be decoded and are"
        notes.append(f"{what} left out{how}")
    if cut:
        notes.append("a picture is damaged: rows are missing" if cut == 1 else f"{cut} pictures lack rows")
    return notes


def _annotations(page: pypdfium2.PdfPage) -> list[str]:
    """Notes on what is laid over the page; to be asked once it is drawn, which makes some appearances."""
    media: set[str] = set()
    bare = 0
    for index in range(_some(raw.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind in _MEDIA:
            media.add(_MEDIA[kind])
        elif kind not in _UNSEEN and not raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN:
            # The length counts the two bytes that end the text.
            bare += raw.FPDFAnnot_GetAP(annotation, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None, 0) <= 2
        raw.FPDFPage_CloseAnnot(annotation)
    notes = [f"it holds {what}, which cannot be shown" for what in sorted(media)]
    if bare:
        what = "an annotation has" if bare == 1 else f"{bare} annotations have"
        notes.append(f"{what} no appearance and cannot be shown")
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


def _lacks_rows(picture: Any, page: pypdfium2.PdfPage) -> bool:
    """Whether a picture that is stored as rows has fewer bytes than its rows need."""
    facts = raw.FPDF_IMAGEOBJ_METADATA()
    filters = _filters(picture)
    if (filters and filters[-1] in _CODECS) or not raw.FPDFImageObj_GetImageMetadata(picture, page, facts):
        return False
    needed = -(-facts.width * facts.bits_per_pixel // 8) * facts.height
    return bool(raw.FPDFImageObj_GetImageDataDecoded(picture, None, 0) < needed)


def _filters(picture: Any) -> list[str]:
    text = ctypes.create_string_buffer(64)
    names = []
    for index in range(raw.FPDFImageObj_GetImageFilterCount(picture)):
        raw.FPDFImageObj_GetImageFilter(picture, index, text, len(text))
        names.append(text.value.decode("utf-8", "replace"))
    return names
