"""Pictures as people see them: upright, in RGB, on white paper, and no larger than a model can use."""

from __future__ import annotations

import itertools
import math
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL import Image, ImageFile, ImageOps

from llava.image_io.files import FORMATS, explain_unidentified, is_pdf, is_tiff, read_head
from llava.image_io.refusal import Refusal

MAX_PIXELS = 150_000_000
"""Pixels above which a header alone is reason to refuse; decoded, they would need more than half a gigabyte."""

REDUCE_PIXELS = 25_000_000
"""Pixels above which a picture is shrunk by a whole factor: far finer than the views that the model is shown."""

MIN_SIDE = 8
"""Pixels on the shorter side below which there is nothing to see, and view geometry breaks down."""

MAX_ASPECT = 256
"""Longer side over shorter side above which nothing is left of the shorter one in any view."""

_BAND_PIXELS = 2**22
"""Pixels that are converted at a time, so that no second copy of a large picture is made."""

_SAMPLE_FORMAT, _SIGNED = 339, 2
_REDUCED, _MASK = 1, 4
"""Bits of a TIFF's ``NewSubfileType`` (254): a smaller copy of another page, and a mask of one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A page or picture, in mode RGB, and what has to be said about it."""

    image: Image.Image
    name: str
    """What errors and notes call it."""
    notes: tuple[str, ...] = ()
    """Whole sentences without their stop: what the file holds and the picture does not show."""

    def noting(self, note: str) -> Picture:
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))


def plain_image(image: Image.Image, name: str = "the image") -> Image.Image:
    """A picture that is open already under the rules of ``load_image``: upright, in RGB, as a copy.

    Raises:
        ValueError: if it is closed, damaged, too large or too thin.
    """
    check_size(image.size, name)
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # as in _open_image
        raise Refusal(name, f"its pixels cannot be decoded ({error})", "open it again, or give its path") from error


def read_frame(file: BinaryIO, name: str, number: int = 0) -> Image.Image:
    """Frame ``number``, counted from 0, of an open file; ``name`` is what errors call it.

    Raises:
        ValueError: as ``load_image``.
    """
    # Pillow warns of large sizes, judged here by MAX_PIXELS, and of odd metadata beside sound pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open_image(file, name) as image:
            check_size(image.size, name)
            if image.format == "PNG":
                _check_png(file, name)
            return _read_pixels(image, name, number)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames of a file that are pages or pictures of their own."""

    places: tuple[int, ...]
    """Counted from 0 among all that the file holds."""
    damaged: bool = False
    """Whether more follow that are damaged."""
    numbers: bool = False
    """Whether some are gray pictures as of ``is_gray_numbers``."""


def find_frames(file: BinaryIO, name: str) -> Frames:
    """The frames of an open file. Nothing is decoded; of a TIFF, smaller copies and masks are left out.

    Raises:
        ValueError: if the file is no picture.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open_image(file, name) as image:
            if image.format == "TIFF":
                return _find_pages(image)
            try:
                return Frames(places=tuple(range(getattr(image, "n_frames", 1))))
            except Exception:  # as in _open_image; the first frame may still be sound
                return Frames(places=(0,), damaged=True)


def _find_pages(image: ImageFile.ImageFile) -> Frames:
    pages: list[int] = []
    damaged = numbers = False
    for place in itertools.count():
        try:
            image.seek(place)
            if not image.tag_v2.get(254, 0) & (_REDUCED | _MASK):  # type: ignore[attr-defined]
                pages.append(place)
            numbers = numbers or is_gray_numbers(image)
        except EOFError:
            break
        except Exception:  # as in _open_image
            damaged = True
            break
    return Frames(places=tuple(pages) or (0,), damaged=damaged, numbers=numbers)


def stored_size(file: BinaryIO, name: str) -> tuple[int, int] | None:
    """(width, height) of the first picture of an open file by its header, in pixels; None of a PDF.

    Raises:
        ValueError: if it is neither.
    """
    if is_pdf(read_head(file)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _open_image(file, name) as image:
            return image.size


def is_gray_numbers(image: Image.Image) -> bool:
    """Whether a picture holds numbers that Pillow's own conversion would clip or misread."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    form = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))
    return image.mode == "L" and form[:1] == (_SIGNED,)  # Pillow takes signed bytes for plain ones


def _open_image(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    head = read_head(file)
    formats: tuple[str, ...] = FORMATS
    if is_tiff(head):
        from PIL import TiffImagePlugin  # noqa: F401 (named alone, it need not be found among forty others)

        formats = ("TIFF",)
    try:
        return Image.open(file, formats=formats)
    except Image.UnidentifiedImageError as error:
        raise Refusal(name, *explain_unidentified(head)) from error
    except Image.DecompressionBombError as error:
        raise Refusal(name, "its header claims more pixels than are safe to decode", "scale it down first") from error
    # Pillow's decoders answer hostile bytes with exceptions of many types, none of them documented.
    except Exception as error:
        raise Refusal(name, f"its header is damaged ({error})", "download or export it again") from error


def check_size(size: tuple[int, int], name: str) -> None:
    """Refuse pictures that are too large, too thin or too long, in pixels.

    Raises:
        ValueError: naming the size.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        fault = f"its header claims {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}"
        raise Refusal(name, fault, "scale it down first")
    if min(size) < MIN_SIDE:
        fault = f"it is {width} x {height} pixels, thinner than {MIN_SIDE}"
        raise Refusal(name, fault, "give a larger image")
    if max(size) > MAX_ASPECT * min(size):
        fault = f"it is {width} x {height} pixels, one side more than {MAX_ASPECT} times the other"
        raise Refusal(name, fault, "cut it into parts")


def _check_png(file: BinaryIO, name: str) -> None:
    """Refuse a PNG whose pixels do not fit their checksums, which Pillow does not look at."""
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind not in (b"IDAT", b"fdAT"):
                file.seek(length + 4, 1)
                continue
            total = zlib.crc32(kind)
            while length and (body := file.read(min(length, 2**20))):
                total, length = zlib.crc32(body, total), length - len(body)
            stored = file.read(4)
            if length == 0 and len(stored) == 4 and int.from_bytes(stored, "big") != total:
                raise Refusal(name, "its pixels are damaged (a checksum does not fit)", "download or export it again")
    finally:
        file.seek(place)


def _read_pixels(image: ImageFile.ImageFile, name: str, number: int) -> Image.Image:
    try:
        if number:
            image.seek(number)
            check_size(image.size, name)
        factor = _reduction(image.size)
        if factor > 1:  # only JPEG decodes at a reduced scale; for others this changes nothing
            power = 2 ** math.ceil(math.log2(factor))
            image.draft(image.mode, (image.width // power, image.height // power))
        image.load()
        _turn_upright(image)
        return _to_rgb(image)
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # as in _open_image
        raise Refusal(name, f"its pixels cannot be decoded ({error})", "download or export it again") from error


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
    plain = image
    if is_gray_numbers(image):
        from llava.image_io.gray import to_gray

        plain = to_gray(image)
    factor = _reduction(plain.size)
    rows = max(1, _BAND_PIXELS // (plain.width * factor)) * factor
    if plain.height <= rows:
        return _reduced(_on_paper(plain), factor)
    whole = Image.new("RGB", (-(-plain.width // factor), -(-plain.height // factor)))
    for top in range(0, plain.height, rows):
        band = plain.crop((0, top, plain.width, min(top + rows, plain.height)))
        whole.paste(_reduced(_on_paper(band), factor), (0, top // factor))
    return whole


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _on_paper(image: Image.Image) -> Image.Image:
    """In RGB, on white where it is transparent; always a copy."""
    if not image.has_transparency_data:
        return image.copy() if image.mode == "RGB" else image.convert("RGB")
    layers = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layers, mask=layers)
    return paper
