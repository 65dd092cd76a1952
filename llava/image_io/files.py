"""Files as they are opened: what is there, and what kind of file its first bytes say it is."""

import codecs
import stat
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from llava.image_io.refusal import Refusal

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow's decoders that may see untrusted bytes. EPS, which starts a PostScript interpreter, stays out."""

_HEAD_BYTES = 1024
_HEIF_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
        raise Refusal(name, "permission is denied", "make the file readable for this user") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal(repr(name), f"the system does not open it ({reason})", "check the path") from error
    if file is None:
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise Refusal(name, f"it is {kind}", "give the path of one file")
    if status.st_size == 0:
        file.close()
        raise Refusal(name, "the file is empty", "download or export it again")
    return file


def read_head(file: BinaryIO) -> bytes:
    """The first bytes, by which a file is known."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    return head


def is_pdf(head: bytes) -> bool:
    """Whether a file is a PDF; readers tolerate bytes before the header, and mail gateways add some."""
    return b"%PDF-" in head and not has_image_signature(head)


def is_tiff(head: bytes) -> bool:
    """Whether a file is a TIFF."""
    return head.startswith(_TIFF_HEADS)


def has_image_signature(head: bytes) -> bool:
    """Whether one of ``FORMATS`` begins so."""
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS if name in Image.OPEN)
    return any(accept is not None and accept(head[:16]) is True for accept in accepts)


def explain_unidentified(head: bytes) -> tuple[str, str]:
    """Fault and mend of a file that no decoder takes."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it holds a web page, not an image", "download the image itself"
    if b"<svg" in text:
        return "SVG drawings are not supported", "export it as PNG"
    if is_pdf(head):
        return "it is a PDF document", "read it with load_pages"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIC photos are not supported", "export it as JPEG"
    if _is_text(head):
        return "it holds text, not an image", "check that this is the right file"
    if has_image_signature(head):
        return "its header is damaged, or its kind of pixels is not supported", "convert it to PNG"
    return "its format is not supported", "convert it to PNG or JPEG"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the cut may split a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
