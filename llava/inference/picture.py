"""A page as people have it at hand: a path, bytes, a picture that is open already, or an array."""

import os
from io import BytesIO
from typing import Any

from PIL import Image

from llava.image_io import (
    DEFAULT_LIMITS,
    PDF_LONG_SIDE,
    LongSide,
    PageLimits,
    Picture,
    open_file,
    plain_image,
    read_page,
)
from shirg.tiling import PageViews


def open_picture(
    source: Any,
    *,
    page: int | None = None,
    long_side: LongSide = PDF_LONG_SIDE,
    limits: PageLimits = DEFAULT_LIMITS,
) -> Picture:
    """The picture in mode RGB, upright, and notes on what it does not show.

    Args:
        source: the path of an image or a PDF, the bytes of one, a ``Picture``, a ``PIL.Image.Image``, or an array
            (height, width), (height, width, 3) or (height, width, 4) of whole numbers up to 255, or of floats from 0
            to 1.
        page: of a PDF or a TIFF, counted from 1, needed where it has several; or a frame of an animation.
        long_side: of a PDF's page, in pixels, as of ``load_pages``.
        limits: of the process that draws it, if it is a file's.

    Raises:
        FileNotFoundError: if nothing is at the path.
        ValueError: if it cannot be read, or there is no such page.
        TypeError: if it is something else.
    """
    if isinstance(source, Picture):
        return source
    if hasattr(source, "__array__") and not isinstance(source, str | bytes | Image.Image):
        source = _from_array(source)
    if isinstance(source, str | os.PathLike):
        if str(source).startswith(("http://", "https://")):
            raise ValueError(f"{source} is an address; download the page, and give its path or bytes")
        with open_file(source) as file:
            return read_page(file, str(source), page, long_side=long_side, limits=limits)
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise ValueError("the bytes of the page are empty; read the file again")
        name = f"the {len(source):,} bytes"
        return read_page(BytesIO(source), name, page, long_side=long_side, limits=limits)
    if not isinstance(source, Image.Image):
        raise TypeError(f"a page is a path, bytes, a PIL image or an array, but this is {type(source).__name__}")
    if page not in (None, 1):
        raise ValueError(f"a picture has no page {page}; leave the page out, or give the PDF's path")
    return Picture(image=plain_image(source), name="the image")


def pdf_long_side(views: PageViews | None) -> LongSide:
    """At how many pixels a PDF's page is rendered: larger where it takes more to fill its tiles; None for LaViDa."""
    if views is None:
        return PDF_LONG_SIDE
    return lambda shape: max(PDF_LONG_SIDE, views.long_side(shape))


def _from_array(source: Any) -> Image.Image:
    import numpy as np

    pixels = np.asarray(source)
    channels = pixels.shape[2:] if pixels.ndim == 3 else ()
    if pixels.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"the array of the page has shape {pixels.shape}; give (height, width), (height, width, 3) or "
            "(height, width, 4)"
        )
    most = 1 if pixels.dtype.kind in "fb" else 255
    if pixels.dtype.kind not in "fbiu" or not pixels.size or not 0 <= pixels.min() <= pixels.max() <= most:
        raise ValueError("the array of the page must hold whole numbers from 0 to 255, or floats from 0 to 1")
    levels = (np.rint(pixels * 255.0) if most == 1 else pixels).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if channels == (1,) else levels)
