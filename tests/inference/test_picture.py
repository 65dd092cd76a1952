"""A page may be a path, bytes, a picture or an array; anything else is refused in one sentence."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from llava.image_io import load_image
from llava.inference.picture import open_picture
from tests.cli_helpers import write_page
from tests.model.test_image_io_pdf import write_pdf

SIZE = (31, 23)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(tmp_path / "page.png", SIZE)


def test_all_ways_to_give_a_page_give_the_same(page: Path) -> None:
    expected = np.asarray(load_image(page))
    for source in (
        page,
        str(page),
        np.str_(page),  # both a text and an array
        page.read_bytes(),
        bytearray(page.read_bytes()),
        memoryview(page.read_bytes()),
        Image.open(page),
        load_image(page),
        expected,
        expected.astype(np.int64),
        expected.astype(np.float32) / 255,
        torch.from_numpy(expected.copy()),
    ):
        assert np.array_equal(pixels(open_picture(source).image), expected), type(source)


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (np.full((12, 9), 7, np.uint8), (7, 7, 7)),
        (np.full((12, 9, 1), 7, np.uint8), (7, 7, 7)),
        (np.ones((12, 9), bool), (255, 255, 255)),
        (np.full((12, 9), 0.5), (128, 128, 128)),
        (np.full((12, 9, 4), (10, 20, 30, 0), np.uint8), (255, 255, 255)),
    ],
    ids=["gray", "one channel", "bool", "float", "transparent"],
)
def test_arrays_are_read_as_their_type_and_shape_say(array: np.ndarray, shown: tuple[int, ...]) -> None:
    image = open_picture(array).image
    assert image.size == (9, 12)
    assert image.getpixel((4, 5)) == shown


def test_a_picture_is_brought_upright_and_left_as_it_was() -> None:
    lying = Image.new("L", SIZE)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    lying.save(file, "JPEG", exif=exif)
    given = Image.open(file)
    assert open_picture(given).image.size == SIZE[::-1]
    assert given.size == SIZE


def test_of_a_pdf_one_page_is_read(tmp_path: Path) -> None:
    document = write_pdf(tmp_path / "two.pdf", [(90, 70), (70, 90)])
    for source in (document, document.read_bytes()):
        first, second = (open_picture(source, page=number).image for number in (1, 2))
        assert first.width > first.height
        assert second.width < second.height
        with pytest.raises(ValueError, match="has 2 pages; say which one with page="):
            open_picture(source)
    alone = write_pdf(tmp_path / "one.pdf", [(90, 70)])
    assert open_picture(alone).image.width == 2000


@pytest.mark.parametrize(
    ("source", "page", "error", "words"),
    [
        ("nowhere.png", None, FileNotFoundError, "Cannot read nowhere.png: no such file"),
        ("https://example.org/page.png", None, ValueError, "is an address; download the page"),
        (b"", None, ValueError, "bytes of the page are empty"),
        (b"words", None, ValueError, "Cannot read the 5 bytes: it holds text"),
        (np.zeros((3, 12, 9)), None, ValueError, r"has shape \(3, 12, 9\); give \(height, width\)"),
        (np.full((12, 9), 300), None, ValueError, "whole numbers from 0 to 255, or floats from 0 to 1"),
        (np.full((12, 9), np.nan), None, ValueError, "floats from 0 to 1"),
        (np.full((12, 9), "a"), None, ValueError, "must hold whole numbers"),
        (Image.new("RGB", (3, 30)), None, ValueError, "it is 3 x 30 pixels, thinner than 8"),
        (Image.new("RGB", SIZE), 2, ValueError, "has no page 2"),
        (42, None, TypeError, "a page is a path, bytes, a PIL image or an array, but this is int"),
        (["page.png"], None, TypeError, "but this is list"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_page_is_named(source: Any, page: int | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_picture(source, page=page)


def test_a_closed_picture_says_what_to_do(page: Path) -> None:
    image = Image.open(page)
    image.close()
    with pytest.raises(ValueError, match="open it again, or give its path"):
        open_picture(image)
