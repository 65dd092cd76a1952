"""Files with pages: PDFs and TIFFs, animations, and pictures, which are one page each."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from os import PathLike
from typing import Any, BinaryIO

from PIL import Image

from llava.image_io.drawing import Drawing
from llava.image_io.files import is_pdf, is_tiff, open_file, read_head
from llava.image_io.limits import DEFAULT_LIMITS, PageLimits
from llava.image_io.pictures import Picture, check_size, find_frames, read_frame
from llava.image_io.refusal import Refusal

PDF_LONG_SIDE = 2000
"""Pixels on the longer side of a rendered PDF page: print of 6 points stays legible on A4."""

LongSide = int | Callable[[tuple[float, float]], int]
"""Pixels on the longer side, of all pages alike or by a page's (width, height) in any unit."""

MAX_PAGES = 20
"""Pages read in one call; each takes some 10 MB, and a prompt holds only a few of them."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """An open file, and how many pages or frames it has."""

    name: str
    count: int
    word: str
    """What one of them is called: ``page`` of a PDF or a TIFF, ``frame`` of an animation."""
    draw: Callable[[int, LongSide], Picture]
    """Page ``number``, counted from 1, if there is one."""
    damaged: bool = False
    """Whether more pages follow that cannot be read."""

    @property
    def is_document(self) -> bool:
        """Whether its pages are read one after the other, so that the first alone is only a part."""
        return self.word == "page"

    def read(self, number: int, *, long_side: LongSide = PDF_LONG_SIDE) -> Picture:
        """Page ``number``, counted from 1.

        Raises:
            ValueError: as ``load_pages``.
        """
        if 1 <= number <= self.count:
            picture = self.draw(number, long_side)
            return picture.noting(f"{self.name}: {self._cut}") if self.damaged else picture
        fault = f"it has no {self.word} {number}"
        if self.damaged:
            fault = f"{fault} that can be read ({self._cut})"
        elif self.count == 1 and self.word == "frame":
            raise Refusal(self.name, f"it is a single image and has no page {number}", "leave the page out")
        raise Refusal(self.name, fault, f"choose a {self.word} from 1 to {self.count}")

    @property
    def _cut(self) -> str:
        return f"what follows {self.word} {self.count} is damaged"


@contextmanager
def open_pages(path: str | PathLike[str], *, limits: PageLimits = DEFAULT_LIMITS) -> Iterator[Pages]:
    """The pages of a file, while the ``with`` block lasts.

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: as ``load_pages``.
    """
    with open_file(path) as file, pages_of(file, str(path), limits=limits) as pages:
        yield pages


@contextmanager
def pages_of(file: BinaryIO, name: str, *, limits: PageLimits = DEFAULT_LIMITS) -> Iterator[Pages]:
    """The pages of a file that is open already; ``name`` is what errors call it.

    Raises:
        ValueError: as ``load_pages``.
    """
    head = read_head(file)
    if is_pdf(head):
        with Drawing(file, name, "pdf", limits) as drawing:
            count = drawing.open()["count"]
            yield Pages(name=name, count=count, word="page", draw=partial(_draw_pdf, drawing, name, count))
        return
    with Drawing(file, name, "frames", limits) as drawing:
        if is_tiff(head):
            facts = drawing.open()
            draw = partial(_draw_frame, drawing, name, "page")
            yield Pages(name=name, count=facts["count"], word="page", draw=draw, damaged=facts["damaged"])
            return
        frames = find_frames(file, name)

        def read(number: int, long_side: LongSide) -> Picture:
            if number == 1:
                return Picture(image=read_frame(file, name), name=name)
            return _draw_frame(drawing, name, "frame", number, long_side)  # every frame before it has to be drawn too

        yield Pages(name=name, count=len(frames.places), word="frame", draw=read, damaged=frames.damaged)


def _draw_pdf(drawing: Drawing, name: str, count: int, number: int, long_side: LongSide) -> Picture:
    what = f"drawing page {number}"
    (width, height), _ = _size(drawing.ask(what, "size", number=number))
    pixels = long_side if isinstance(long_side, int) else long_side((width, height))
    scale = pixels / max(width, height)
    where = f"{name}, page {number}"
    check_size((math.ceil(width * scale), math.ceil(height * scale)), where)
    answer, rows = drawing.ask(what, "draw", number=number, scale=scale)
    image = Image.frombuffer("RGB", tuple(answer["size"]), rows, "raw", "BGR", answer["stride"], 1)
    whole = name if count == 1 else where
    return Picture(image=image.copy(), name=whole, notes=tuple(f"{whole}: {note}" for note in answer["notes"]))


def _size(answer: tuple[dict[str, Any], bytearray]) -> tuple[tuple[float, float], bytearray]:
    width, height = answer[0]["size"]
    return (width, height), answer[1]


def _draw_frame(drawing: Drawing, name: str, word: str, number: int, long_side: LongSide) -> Picture:
    answer, rows = drawing.ask(f"decoding {word} {number}", "draw", number=number)
    picture = Picture(image=Image.frombytes("RGB", tuple(answer["size"]), bytes(rows)), name=name)
    said = answer["said"]
    return picture.noting(f"{name}: parts may be damaged, for its decoder says {said!r}") if said else picture


def load_image(path: str | PathLike[str]) -> Image.Image:
    """The picture in an image file, in mode RGB, upright, at most ``REDUCE_PIXELS`` large.

    Alpha lies on white, since documents are drawn for white paper. Gray of more than 8 bits is scaled, not clipped, by
    what its file says of depth, sign, range and polarity, so that white stays white; float images count as 0 to 1, else
    as 0 to 255, and are stretched where they exceed both. Of an animation or a multi-page TIFF it is the first frame.

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: if it cannot be read, is no image of a supported format, is damaged, too large, thin or long.
    """
    with open_file(path) as file:
        return decode_image(file, str(path))


def decode_image(file: BinaryIO, name: str) -> Image.Image:
    """The picture that an open file holds, as of ``load_image``; ``name`` is what errors call it.

    Raises:
        ValueError: as ``load_image``.
    """
    if not is_tiff(read_head(file)):
        return read_frame(file, name)
    with pages_of(file, name) as pages:
        return pages.read(1).image


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
        raise Refusal(name, "the text is not valid base64", "send the encoded file whole and unaltered") from error
    if not data:
        raise Refusal(name, "it is empty", "send the encoded file whole and unaltered")
    return decode_image(BytesIO(data), name)


def load_pages(
    path: str | PathLike[str],
    *,
    page: int | None = None,
    long_side: LongSide = PDF_LONG_SIDE,
    limits: PageLimits = DEFAULT_LIMITS,
) -> list[Image.Image]:
    """The pages of a PDF, rendered to ``long_side`` pixels, or of a TIFF, or the one picture of an image file, in RGB.

    ``page`` counts from 1 and asks for that page alone, or that frame of an animation; without it all pages come back,
    and of an animation the first frame. ``long_side`` may depend on a page's (width, height). Notes on what is not
    shown come with ``open_pages``.

    Raises:
        FileNotFoundError: if nothing is at ``path``.
        ValueError: as for ``load_image``; and if a PDF is encrypted, damaged, empty or a form that its reader would
            have to draw, has no such page, takes more than its ``limits``, or has more than ``MAX_PAGES`` pages and
            none is named (a silent cut would answer from half a document).
    """
    with open_pages(path, limits=limits) as pages:
        numbers: range | list[int] = [1] if page is None else [page]
        if page is None and pages.is_document:
            if pages.count > MAX_PAGES:
                fault = f"it has {pages.count} pages, more than the {MAX_PAGES} read at once"
                raise Refusal(pages.name, fault, "name one page")
            numbers = range(1, pages.count + 1)
        return [pages.read(number, long_side=long_side).image for number in numbers]


def read_page(
    file: BinaryIO,
    name: str,
    page: int | None = None,
    *,
    long_side: LongSide = PDF_LONG_SIDE,
    limits: PageLimits = DEFAULT_LIMITS,
) -> Picture:
    """The one page of an open file, or the one that is asked for; ``name`` is what errors call it.

    Of an animation it is the first frame where none is named, which a note says.

    Raises:
        ValueError: as ``load_pages``, and if there are several pages and none is named.
    """
    with pages_of(file, name, limits=limits) as pages:
        if page is None and pages.count > 1 and pages.is_document:
            raise Refusal(name, f"it has {pages.count} pages", "say which one with page=")
        picture = pages.read(1 if page is None else page, long_side=long_side)
        if page is None and pages.count > 1:
            return picture.noting(f"{name} has {pages.count} frames; this is the first")
        return picture


def count_pages(path: str | PathLike[str], *, limits: PageLimits = DEFAULT_LIMITS) -> int:
    """How many pages a PDF or a TIFF has, or frames an animation; 1 for another image. None of them is drawn.

    Raises:
        FileNotFoundError, ValueError: as for ``load_pages``, as far as opening the file tells.
    """
    with open_pages(path, limits=limits) as pages:
        return pages.count
