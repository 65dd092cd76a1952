"""RGB pictures from untrusted image and PDF files.

Every refusal is a ``ValueError`` (``FileNotFoundError`` where nothing is there) of one sentence: which file, what is
wrong with it, what to do about it. What a file holds is judged by its bytes, never by the ending of its name, and its
size by its header, before a pixel is decoded. PDFium and numpy are imported when a file needs them: a wrong path is
refused at once.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import math
import stat
import threading
import warnings
from collections.abc import Callable
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageFile, ImageOps

if TYPE_CHECKING:
    import pypdfium2

MAX_PIXELS = 150_000_000
"""Pixels above which a header alone is reason to refuse; decoded, they would need more than half a gigabyte."""

REDUCE_PIXELS = 25_000_000
"""Pixels above which a picture is shrunk by a whole factor: far finer than the views that the model is shown."""

MIN_SIDE = 8
"""Pixels on the shorter side below which there is nothing to see, and view geometry breaks down."""

PDF_LONG_SIDE = 2000
"""Pixels on the longer side of a rendered PDF page: print of 6 points stays legible on A4."""

LongSide = int | Callable[[tuple[float, float]], int]
"""Pixels on the longer side, of all pages alike or by a page's (width, height) in any unit."""

MAX_PDF_PAGES = 20
"""Pages rendered in one call; each takes some 10 MB, and a prompt holds only a few of them."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow's decoders that may see untrusted bytes. EPS, which starts a PostScript interpreter, stays out."""

_HEAD_BYTES = 1024
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")

# PDFium keeps process-wide state and crashes when two threads enter it; web servers call from a pool of threads.
_PDFIUM_LOCK = threading.Lock()


def load_image(path: str | PathLike[str]) -> Image.Image:
    """The picture in an image file, in mode RGB, upright, at most ``REDUCE_PIXELS`` large.

    Alpha lies on white, since documents are drawn for white paper. 16-bit gray is scaled to 8 bits, not clipped;
    float images count as 0 to 1, else as 0 to 255, and are stretched where they exceed both. Of an animation or a
    multi-page TIFF it is the first frame.

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: if it cannot be read, is no image of a supported format, is damaged, too large or too thin.
    """
    with open_file(path) as file:
        return decode_image(file, str(path))


def load_pages(
    path: str | PathLike[str], *, page: int | None = None, long_side: LongSide = PDF_LONG_SIDE
) -> list[Image.Image]:
    """The pages of a PDF, rendered to ``long_side`` pixels, or the one picture of an image file; all in mode RGB.

    ``page`` counts from 1 and asks for that page alone; without it all pages come back. ``long_side`` may depend on a
    page's (width, height).

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: as for ``load_image``; and if a PDF is encrypted, damaged or empty, has no such page, or has more
            than ``MAX_PDF_PAGES`` pages and none is named (a silent cut would answer from half a document).
    """
    with open_file(path) as file:
        return _read_pages(file, str(path), page, long_side)


def read_page(
    file: BinaryIO, name: str, page: int | None = None, *, long_side: LongSide = PDF_LONG_SIDE
) -> Image.Image:
    """The one page of an open file, or the one that is asked for; ``name`` is what errors call it.

    Raises:
        ValueError: as ``load_pages``, and if there are several pages and none is named.
    """
    if page is None and (count := _count_pages(file, name)) > 1:
        raise _refusal(name, f"it has {count} pages", "say which one with page=")
    return _read_pages(file, name, 1 if page is None else page, long_side)[0]


def _read_pages(file: BinaryIO, name: str, page: int | None, long_side: LongSide) -> list[Image.Image]:
    if _is_pdf(_head(file)):
        with _PDFIUM_LOCK:
            return _render_pdf(file, name, page, long_side)
    if page not in (None, 1):
        raise _refusal(name, f"it is a single image and has no page {page}", "leave the page out")
    return [decode_image(file, name)]


def count_pages(path: str | PathLike[str]) -> int:
    """How many pages a PDF has; 1 for an image. No page is rendered, so a long document answers as fast as a short one.

    Raises:
        FileNotFoundError, ValueError: as for ``load_pages``, as far as opening the file tells.
    """
    with open_file(path) as file:
        return _count_pages(file, str(path))


def _count_pages(file: BinaryIO, name: str) -> int:
    if not _is_pdf(_head(file)):
        return 1
    with _PDFIUM_LOCK, _open_pdf(file, name) as document:
        return len(document)


def decode_base64_image(text: str) -> Image.Image:
    """The picture in base64 text, plain or as a ``data:`` URL, under the rules of ``load_image``.

    Raises:
        ValueError: if the text is not base64, or for what ``load_image`` refuses.
    """
    name = "the base64 image"
    payload = text.partition(",")[2] if text.lstrip().startswith("data:") else text
    try:
        data = base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refusal(name, "the text is not valid base64", "send the encoded file whole and unaltered") from error
    if not data:
        raise _refusal(name, "it is empty", "send the encoded file whole and unaltered")
    return decode_image(BytesIO(data), name)


def _refusal(name: str, fault: str, mend: str) -> ValueError:
    return ValueError(f"Cannot read {name}: {fault}; {mend}.")


def open_file(path: str | PathLike[str]) -> BinaryIO:
    """A regular file that holds something, opened for reading.

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: if it is no regular file, is empty, or cannot be opened.
    """
    name, path = str(path), Path(path)
    try:
        status = path.stat()
        # Opening a pipe waits for a writer, and a device may never end: only regular files are opened at all.
        file = path.open("rb") if stat.S_ISREG(status.st_mode) else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"Cannot read {name}: no such file; check the path.") from error
    except PermissionError as error:
        raise _refusal(name, "permission is denied", "make the file readable for this user") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _refusal(repr(name), f"the system does not open it ({reason})", "check the path") from error
    if file is None:
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise _refusal(name, f"it is {kind}", "give the path of one file")
    if status.st_size == 0:
        file.close()
        raise _refusal(name, "the file is empty", "download or export it again")
    return file


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    return head


def _is_pdf(head: bytes) -> bool:
    # Readers of PDF tolerate bytes before the header, and mail gateways add some.
    return b"%PDF-" in head and not _has_image_signature(head)


def _has_image_signature(head: bytes) -> bool:
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN)
    return any(accept is not None and accept(head[:16]) is True for accept in accepts)


def decode_image(file: BinaryIO, name: str) -> Image.Image:
    """The picture that an open file holds, upright and in RGB; ``name`` is what errors call it.

    Raises:
        ValueError: as ``load_image``.
    """
    # Pillow warns of large sizes, judged here by MAX_PIXELS, and of odd metadata beside sound pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open_image(file, name) as image:
            _check_size(image.size, name)
            return _read_pixels(image, name)


def plain_image(image: Image.Image, name: str = "the image") -> Image.Image:
    """A picture that is open already under the rules of ``load_image``: upright, in RGB, as a copy.

    Raises:
        ValueError: if it is closed, damaged, too large or too thin.
    """
    _check_size(image.size, name)
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # as in _open_image
        raise _refusal(name, f"its pixels cannot be decoded ({error})", "open it again, or give its path") from error


def _open_image(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    head = _head(file)
    try:
        return Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise _refusal(name, *_explain_unidentified(head)) from error
    except Image.DecompressionBombError as error:
        raise _refusal(name, "its header claims more pixels than are safe to decode", "scale it down first") from error
    # Pillow's decoders answer hostile bytes with exceptions of many types, none of them documented.
    except Exception as error:
        raise _refusal(name, f"its header is damaged ({error})", "download or export it again") from error


def _explain_unidentified(head: bytes) -> tuple[str, str]:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it holds a web page, not an image", "download the image itself"
    if b"<svg" in text:
        return "SVG drawings are not supported", "export it as PNG"
    if _is_pdf(head):
        return "it is a PDF document", "read it with load_pages"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIC photos are not supported", "export it as JPEG"
    if _is_text(head):
        return "it holds text, not an image", "check that this is the right file"
    if _has_image_signature(head):
        return "its header is damaged", "download or export it again"
    return "its format is not supported", "convert it to PNG or JPEG"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the cut may split a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        fault = f"its header claims {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}"
        raise _refusal(name, fault, "scale it down first")
    if min(size) < MIN_SIDE:
        fault = f"it is {width} x {height} pixels, thinner than {MIN_SIDE}"
        raise _refusal(name, fault, "give a larger image")


def _read_pixels(image: ImageFile.ImageFile, name: str) -> Image.Image:
    try:
        factor = _reduction(image.size)
        if factor > 1:  # only JPEG decodes at a reduced scale; for others this changes nothing
            power = 2 ** math.ceil(math.log2(factor))
            image.draft(image.mode, (image.width // power, image.height // power))
        image.load()
        _turn_upright(image)
        return _to_rgb(image)
    except Exception as error:  # as in _open_image
        raise _refusal(name, f"its pixels cannot be decoded ({error})", "download or export it again") from error


def _reduction(size: tuple[int, int]) -> int:
    """The whole factor that brings ``size`` to ``REDUCE_PIXELS``, as far as the shorter side permits."""
    needed = math.ceil(math.sqrt(size[0] * size[1] / REDUCE_PIXELS))
    return max(1, min(needed, min(size) // MIN_SIDE))


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # malformed metadata says nothing about the pixels, which are decoded by now
        return


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        plain = _numbers_to_gray(image)
    elif image.has_transparency_data:
        plain = image.convert("RGBA")
    else:
        plain = image.convert("RGB")
    factor = _reduction(plain.size)
    if factor > 1:
        plain = plain.reduce(factor)
    if plain.mode != "RGBA":
        return plain.convert("RGB")
    paper = Image.new("RGB", plain.size, "white")
    paper.paste(plain, mask=plain)
    return paper


def _numbers_to_gray(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    if values.dtype.kind == "u":
        # value / 257 to the nearest level, within 16 bits: a lookup table would need 8 bytes of index per pixel
        return Image.fromarray(((values - (values >> 8) + 128) >> 8).astype(np.uint8))
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    for ceiling in (65535.0,) if values.dtype.kind == "i" else (1.0, 255.0):
        if low >= 0 and high <= ceiling:
            low, high = 0.0, ceiling
            break
    gain = 255 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint((numbers - low) * gain).clip(0, 255).astype(np.uint8))


def _open_pdf(file: BinaryIO, name: str) -> pypdfium2.PdfDocument:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        raise _refusal(name, *_explain_pdf_error(file)) from error


def _render_pdf(file: BinaryIO, name: str, page: int | None, long_side: LongSide) -> list[Image.Image]:
    with _open_pdf(file, name) as document:
        count = len(document)
        if page is not None and not 1 <= page <= count:
            raise _refusal(name, f"the PDF has no page {page}", f"choose a page from 1 to {count}")
        if page is None and count > MAX_PDF_PAGES:
            fault = f"the PDF has {count} pages, more than the {MAX_PDF_PAGES} read at once"
            raise _refusal(name, fault, "name one page")
        document.init_forms()  # what people typed into a form is drawn only with this
        numbers = range(1, count + 1) if page is None else [page]
        return [_render_page(document, number, name, long_side) for number in numbers]


def _explain_pdf_error(file: BinaryIO) -> tuple[str, str]:
    import pypdfium2

    # pypdfium2 also raises for a sound PDF without pages, and its error code is then left over from an earlier file.
    file.seek(0)
    data = file.read()
    document = pypdfium2.raw.FPDF_LoadMemDocument64(data, len(data), None)
    if document:
        pypdfium2.raw.FPDF_CloseDocument(document)
        return "the PDF has no pages", "download or export it again"
    if pypdfium2.raw.FPDF_GetLastError() == pypdfium2.raw.FPDF_ERR_PASSWORD:
        return "the PDF is encrypted", "save a copy without a password"
    return "the PDF is damaged", "download or export it again"


def _render_page(document: pypdfium2.PdfDocument, number: int, name: str, long_side: LongSide) -> Image.Image:
    import pypdfium2

    try:
        sheet = document[number - 1]
    except pypdfium2.PdfiumError as error:
        raise _refusal(name, f"page {number} of the PDF is damaged", "choose another page") from error
    width, height = sheet.get_size()
    pixels = long_side if isinstance(long_side, int) else long_side((width, height))
    scale = pixels / max(width, height)
    _check_size((math.ceil(width * scale), math.ceil(height * scale)), f"{name}, page {number}")
    return sheet.render(scale=scale).to_pil().convert("RGB")
