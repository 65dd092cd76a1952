"""Pages that are read, and pictures that are written, by the command line."""

import os
from pathlib import Path

from PIL import Image

from llava.files import replacing
from llava.image_io import PDF_LONG_SIDE, LongSide, PageLimits, Picture, open_pages
from llava.inference.words import check_film_name


def load_page(path: str, page: int | None, *, limits: PageLimits, long_side: LongSide = PDF_LONG_SIDE) -> Picture:
    """The page asked for, or the first, which a note says if there are more.

    Only that page is rendered, so that a long document opens as quickly as a short one.

    Raises:
        FileNotFoundError, ValueError: as ``load_pages``.
    """
    with open_pages(path, limits=limits) as pages:
        picture = pages.read(1 if page is None else page, long_side=long_side)
    if page is not None or pages.count == 1:
        return picture
    return picture.noting(f"{path} has {pages.count} {pages.word}s; this reads the first, --page N another")


def check_picture(path: str, source: str, option: str = "--heatmap") -> Path:
    """The path of a picture to be written, once it is clear that it can be.

    Args:
        option: what named it.

    Raises:
        ValueError: if it is no PNG, lies in a missing or read-only directory, is a directory, or is ``source``, the
            file that the page comes from.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{option} writes PNG files, but {path} does not end in .png; rename it")
    return _writable(option, path, source)


def check_film(path: str, source: str) -> Path:
    """The path of a film to be written, once it is clear that it can be.

    Raises:
        ValueError: if it is neither GIF nor WebP, and as ``check_picture``.
    """
    try:
        check_film_name(path)
    except ValueError as error:
        raise ValueError(f"--film: {error}") from error
    return _writable("--film", path, source)


def _writable(option: str, path: str, source: str) -> Path:
    out = Path(path)
    if not out.parent.is_dir():
        raise ValueError(f"{option} {path}: there is no directory {out.parent}; make it first")
    if out.is_dir():
        raise ValueError(f"{option} {path} is a directory; give the name of a file")
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise ValueError(f"{option} {path} would overwrite the image itself; choose another name")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"{option} {path}: {out.parent} is not writable; choose another directory")
    return out


def numbered(path: str, count: int) -> list[str]:
    """``count`` names made of one: itself, or ``out-1.png``, ``out-2.png``, ... when there are several."""
    if count == 1:
        return [path]
    out = Path(path)
    return [str(out.with_name(f"{out.stem}-{number}{out.suffix}")) for number in range(1, count + 1)]


def write_picture(image: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as file:
        image.save(file, "PNG")
