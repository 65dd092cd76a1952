"""What the tests of free print share: faces that are on every machine, ink on pictures, and PDFs written by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llava.pages import theme
from llava.pages.characters import CHARACTERS, NONE
from llava.pages.faces import SHIPPED, FontBook, held_out_faces, training_faces
from llava.pages.print import Print

FOLDERS = (SHIPPED,)
"""Other fonts that a machine may have would change what tests draw."""


@cache
def trained() -> FontBook:
    return training_faces(FOLDERS)


@cache
def kept_for_the_test() -> FontBook:
    return held_out_faces(FOLDERS)


def contrast(image: Image.Image, ground: tuple[int, ...]) -> NDArray[np.int64]:
    """(height, width) largest difference from the ground over the channels."""
    return abs(np.asarray(image.convert("RGB")).astype(int) - np.array(ground[:3])).max(axis=2)


def line_print(words: str, *, x: float, base: float, size: float, advance: float) -> Print:
    """Words of one line in which every character, blanks too, takes the same advance."""
    places = [place for place, character in enumerate(words) if character != " "]
    return Print(
        classes=np.array([CHARACTERS.find(words[place]) for place in places], dtype=np.int64),
        left=x + advance * np.array(places, dtype=float),
        right=x + advance * (np.array(places, dtype=float) + 1),
        base=np.full(len(places), float(base)),
        size=np.full(len(places), float(size)),
        word=np.array([words[:place].count(" ") for place in places], dtype=np.int64),
    )


def equal_prints(first: Print, second: Print) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))


def spelled(printed: Print) -> str:
    """All characters in their order."""
    return "".join("?" if code == NONE else CHARACTERS[code] for code in printed.classes.tolist())


def write_text_pdf(
    path: Path,
    *contents: str,
    media: tuple[float, float, float, float] = (0, 0, 301, 203),
    more: str = "",
    font: str = "<</Type/Font/Subtype/Type1/BaseFont/Courier/Encoding/WinAnsiEncoding>>",
) -> Path:
    """A PDF of one page for each content stream, whose font ``/F`` is Courier: 0.6 em to every character.

    ``more`` goes into every page's dictionary.
    """
    from tests.pdf_helpers import pdf_bytes

    pages = range(4, 4 + 2 * len(contents), 2)
    box = " ".join(map(str, media))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{' '.join(f'{page} 0 R' for page in pages)}]/Count {len(contents)}>>",
        font,
    ]
    for page, content in zip(pages, contents, strict=True):
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Resources<</Font<</F 3 0 R>>>>/Contents {page + 1} 0 R{more}>>"
        )
        objects.append(f"<</Length {len(content.encode('latin-1'))}>>stream\n{content}\nendstream")
    path.write_bytes(pdf_bytes(*objects))
    return path


@contextmanager
def bundled_faces() -> Iterator[None]:
    """Themes are drawn from the faces that are on every machine."""
    with (
        mock.patch.object(theme, "training_faces", trained),
        mock.patch.object(theme, "held_out_faces", kept_for_the_test),
    ):
        yield
