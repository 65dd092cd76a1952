"""Crops of PDF pages: print at the sizes that are asked for, with its places."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava.pages import pdf_crops
from llava.pages.crops import CropStyle
from llava.pages.pdf import pdf_page
from llava.pages.pdf_crops import PdfPages
from llava.pages.print import Print
from tests.print_helpers import contrast, write_text_pdf

SIDE = 11 * 14
CLEAN = CropStyle(colored=0.0, dark=0.0, most_squeeze=1.0, wear=CropStyle().wear.scaled(0.0))
WHITE = (255, 255, 255)


def page_of_words(letter: str, size: float = 10.0) -> str:
    """A page full of words of four letters, each with its line's number behind it."""
    lines = [f"({' '.join([letter * 4 + str(row % 10)] * 7)}) Tj 0 {-1.5 * size} Td" for row in range(11)]
    return f"BT /F {size} Tf 23 {180} Td {' '.join(lines)} ET"


@pytest.fixture
def pages(tmp_path: Path) -> PdfPages:
    pdf_crops._page.cache_clear()
    return PdfPages([write_text_pdf(tmp_path / "long.pdf", *map(page_of_words, "abc"))])


def letters(texts: list[str]) -> set[str]:
    return {character for text in texts for character in text if character.isalpha()}


def test_print_stands_where_the_crop_shows_it(pages):
    for number in range(0, 40, 5):
        image, printed = pages.crop(3, number, SIDE, style=CLEAN)
        assert image.size == (SIDE, SIDE)
        assert image.mode == "RGB"
        assert len(printed)
        ink = contrast(image, WHITE) > 90
        outside = ink.copy()
        for (x0, y0, x1, y1), size in zip(printed.boxes, printed.size, strict=True):
            over = 0.2 * size
            rows, columns = slice(max(0, int(y0 - 1)), int(y1 + 2)), slice(max(0, int(x0 - over)), int(x1 + over) + 1)
            if x0 >= 0 and y0 >= 0 and x1 <= SIDE and y1 <= SIDE:
                assert ink[rows, columns].any()
            outside[rows, columns] = False
        assert outside.sum() < 0.01 * ink.sum()


def ink_from_middles(image: Image.Image, printed: Print) -> np.ndarray:
    """(2,) how far, in ems across and down, ink lies from the middles of its characters' boxes on average."""
    ink = contrast(image, WHITE).astype(float)
    found = []
    for (x0, y0, x1, y1), size in zip(printed.boxes, printed.size, strict=True):
        if x0 >= 0 and y0 >= 0 and x1 <= image.width and y1 <= image.height:
            mass = ink[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
            y, x = np.mgrid[: mass.shape[0], : mass.shape[1]] + 0.5
            middle = np.array([(x * mass).sum(), (y * mass).sum()]) / mass.sum() + [int(x0), int(y0)]
            found.append((middle - [(x0 + x1) / 2, (y0 + y1) / 2]) / size)
    return np.mean(found, axis=0)


@pytest.mark.parametrize("squeeze", [1.0, 1.5])
def test_print_stands_on_crops_as_on_its_page(pages, squeeze):
    style = replace(CLEAN, most_squeeze=squeeze)
    wholes = [ink_from_middles(*pdf_page(pages.files[0], number, scale=2.5)) for number in (1, 2, 3)]
    found = []
    for number in range(24):
        image, printed = pages.crop(3, number, SIDE, style=style)
        (letter,) = letters(printed.texts())
        found.append(ink_from_middles(image, printed) - wholes["abc".index(letter)])
    assert np.mean(found, axis=0) == pytest.approx([0, 0], abs=0.025)
    assert np.abs(found).max() < 0.12


def test_the_same_number_is_the_same_crop_and_neighbors_are_from_one_page(pages):
    for number in (0, 7):
        (first, printed), (again, same) = (pages.crop(3, number, SIDE, style=CLEAN) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        assert np.array_equal(printed.boxes, same.boxes)
    assert pages.crop(3, 0, SIDE, style=CLEAN)[0].tobytes() != pages.crop(4, 0, SIDE, style=CLEAN)[0].tobytes()
    shown = [letters(pages.crop(3, number, SIDE, style=CLEAN)[1].texts()) for number in range(60)]
    assert all(len(found) == 1 for found in shown)
    for start in range(0, 60, 12):
        assert len({*map(frozenset, shown[start : start + 12])}) == 1
    assert set().union(*shown) == set("abc")


def test_words_of_a_crop_are_those_of_its_page(pages):
    """Those that its borders do not cut."""
    found = 0
    for number in range(0, 40, 5):
        _, printed = pages.crop(3, number, SIDE, style=CLEAN)
        (letter,) = letters(printed.texts())
        _, whole = pdf_page(pages.files[0], "abc".index(letter) + 1, scale=2.5)
        words = [text for text in printed.texts() if len(text) == 5]
        assert {*words} <= set(whole.texts())
        found += len(words)
    assert found > 50


@pytest.mark.parametrize(("ease", "low", "high"), [(1.0, 13.0, 13.0), (0.0, 9.0, 26.0)])
def test_sizes_are_those_of_the_style_and_begin_near_the_first(pages, ease, low, high):
    """Unless print is stretched, which a run's beginning does not do; crops are whole pixels of the page."""
    sizes = np.array([np.median(pages.crop(3, number, SIDE, style=CLEAN, ease=ease)[1].size) for number in range(40)])
    assert (sizes > 0.97 * low).all()
    assert (sizes < 1.03 * high).all()
    assert (sizes.max() / sizes.min() > 1.6) == (ease == 0.0)


def test_light_print_on_dark_paper_is_the_reverse(pages):
    style = replace(CLEAN, dark=1.0)
    (dark, printed), (light, same) = (pages.crop(3, 2, SIDE, style=each) for each in (style, CLEAN))
    assert np.array_equal(printed.boxes, same.boxes)
    assert np.median(np.asarray(dark)) == 0
    assert 255 - np.asarray(dark).astype(int) == pytest.approx(np.asarray(light).astype(int), abs=1)


def test_pages_with_hardly_any_print_are_passed_over(tmp_path):
    pdf_crops._page.cache_clear()
    blank = ["30 30 50 50 re f", "BT /F 10 Tf 23 61 Td (few) Tj ET"] * 2
    pages = PdfPages([write_text_pdf(tmp_path / "blank.pdf", page_of_words("a"), *blank)])
    shown = [len(pages.crop(3, number, SIDE, style=CLEAN)[1]) for number in range(0, 12 * 12, 12)]
    assert np.mean(np.array(shown) > 5) > 0.7


def test_a_file_without_print_still_gives_a_picture(tmp_path):
    pdf_crops._page.cache_clear()
    pages = PdfPages([write_text_pdf(tmp_path / "blank.pdf", "30 30 50 50 re f")])
    image, printed = pages.crop(3, 1, SIDE, style=CLEAN)
    assert image.size == (SIDE, SIDE)
    assert len(printed) == 0


def test_files_are_taken_in_the_same_order_however_they_are_named(tmp_path):
    files = [write_text_pdf(tmp_path / f"{letter}.pdf", page_of_words(letter)) for letter in "abc"]
    forward, backward = PdfPages(files), PdfPages(files[::-1])
    for number in (0, 13, 29):
        images: list[Image.Image] = [each.crop(3, number, SIDE, style=CLEAN)[0] for each in (forward, backward)]
        assert images[0].tobytes() == images[1].tobytes()


def test_no_file_is_refused():
    with pytest.raises(ValueError, match="there is no PDF to take crops from"):
        PdfPages([])
