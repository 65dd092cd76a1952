"""RGB pictures from untrusted image and PDF files.

Every refusal is a ``ValueError`` (``FileNotFoundError`` where nothing is there) of one sentence: which file, what is
wrong with it, what to do about it. What a file holds is judged by its bytes, never by the ending of its name, and its
size by its header, before a pixel is decoded. What a page holds that cannot be shown becomes a note.

``files`` opens and names, ``pictures`` decodes, ``gray`` brings numbers to 8 bits, ``pages`` is for files of several
pages. PDFs, TIFFs and later frames are drawn by a process of their own (``drawing``) that ``limits`` bounds; what runs
there is in ``child``, ``pdf``, ``left_out`` and ``frames``. Nothing is imported before it is needed: a wrong path is
refused at once, and the process starts quickly.
"""

from typing import TYPE_CHECKING

from shirg.lazy import lazy_names

if TYPE_CHECKING:
    from llava.image_io.files import open_file
    from llava.image_io.limits import DEFAULT_LIMITS, PageLimits
    from llava.image_io.pages import (
        PDF_LONG_SIDE,
        LongSide,
        Pages,
        count_pages,
        decode_base64_image,
        decode_image,
        load_image,
        load_pages,
        open_pages,
        pages_of,
        read_page,
    )
    from llava.image_io.pictures import MAX_PIXELS, Picture, plain_image, stored_size

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_PIXELS",
    "PDF_LONG_SIDE",
    "LongSide",
    "PageLimits",
    "Pages",
    "Picture",
    "count_pages",
    "decode_base64_image",
    "decode_image",
    "load_image",
    "load_pages",
    "open_file",
    "open_pages",
    "pages_of",
    "plain_image",
    "read_page",
    "stored_size",
]

_PAGES = ("PDF_LONG_SIDE", "LongSide", "Pages", "count_pages", "decode_base64_image", "decode_image", "load_image")
_HOMES = {
    "files": ("open_file",),
    "limits": ("DEFAULT_LIMITS", "PageLimits"),
    "pages": (*_PAGES, "load_pages", "open_pages", "pages_of", "read_page"),
    "pictures": ("MAX_PIXELS", "Picture", "plain_image", "stored_size"),
}

__getattr__ = lazy_names(
    __name__, {name: f"llava.image_io.{module}" for module, names in _HOMES.items() for name in names}
)
