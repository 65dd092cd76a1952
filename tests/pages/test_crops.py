"""Crops of print: what is said to stand on them does, and is in the way that their style allows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from llava.data.crops import crop_sample
from llava.data.print_targets import SLOTS
from llava.pages.characters import CHARACTERS, NONE
from llava.pages.crops import CropStyle, draw_crop, draw_scales
from llava.pages.print import Print
from llava.pages.typesetting import Type
from tests.print_helpers import contrast, trained

SIDE, PATCH = 12 * 14, 14
CLEAN = CropStyle(colored=0.0, dark=0.0, wear=CropStyle().wear.scaled(0.0))


def crop(number: int, style: CropStyle = CLEAN, ease: float = 0.0) -> tuple[Image.Image, Print]:
    return draw_crop(np.random.default_rng([7, number]), trained(), SIDE, style=style, ease=ease)


def inside(printed: Print) -> NDArray[np.bool_]:
    x0, y0, x1, y1 = printed.boxes.T
    return (x0 >= 0) & (y0 >= 0) & (x1 <= SIDE) & (y1 <= SIDE)


def test_the_same_number_is_the_same_crop_and_another_is_another():
    (first, printed), (again, same), (other, _) = crop(1), crop(1), crop(2)
    assert first.tobytes() == again.tobytes()
    assert np.array_equal(printed.boxes, same.boxes)
    assert first.tobytes() != other.tobytes()
    assert first.size == (SIDE, SIDE)
    assert first.mode == "RGB"


@pytest.mark.parametrize("ease", [0.0, 1.0])
def test_every_character_lies_on_ink(ease):
    """Most of its box's contrast is that of the darkest there, and nothing like it is far from all boxes."""
    characters = bare = 0
    for number in range(12):
        image, printed = crop(number, ease=ease)
        paper = np.median(np.asarray(image).reshape(-1, 3), axis=0)
        ink = contrast(image, tuple(paper.tolist()))
        for x0, y0, x1, y1 in printed.boxes[inside(printed)]:
            characters += 1
            bare += ink[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].max() < 40
    assert characters > 500
    assert bare < 0.01 * characters


def test_paper_without_print_is_bare_but_for_rules():
    """Rules and lines across the crop are no print; of the rest, hardly any lies outside the boxes of characters."""
    outside, all_ink = 0, 0
    for number in range(8):
        image, printed = crop(number, ease=1.0)
        ink = contrast(image, tuple(np.median(np.asarray(image).reshape(-1, 3), axis=0).tolist())) > 60
        all_ink += int(ink.sum())
        for x0, y0, x1, y1 in printed.boxes:
            ink[max(0, int(y0) - 1) : max(0, int(y1) + 2), max(0, int(x0) - 1) : max(0, int(x1) + 2)] = False
        outside += int(ink.sum())
    assert all_ink > 5000
    assert outside < 0.01 * all_ink


@pytest.mark.parametrize(("ease", "low", "high"), [(1.0, 0.9, 1.15), (0.0, 0.3, 10.0)])
def test_a_run_begins_near_one_size_and_opens_up(ease, low, high):
    style = replace(CLEAN, least_size=9.0, most_size=31.0)
    sizes = np.array([np.median(crop(number, style, ease)[1].size) for number in range(25)])
    assert (sizes >= low * style.first_size).all()
    assert (sizes <= high * style.first_size).all()
    assert (sizes.max() / sizes.min() > 2) == (ease == 0.0)


def test_sizes_are_those_of_the_style():
    style = replace(CLEAN, least_size=17.0, most_size=17.1)
    sizes = np.concatenate([crop(number, style)[1].size for number in range(12)])
    assert np.median(sizes) == pytest.approx(17, abs=0.3)
    assert (sizes > 17 * 0.7).all()
    assert (sizes < 17 * 1.5).all()


@pytest.mark.parametrize(("dark", "level"), [(1.0, (0, 127)), (0.0, (128, 255))])
def test_paper_is_dark_as_often_as_the_style_says(dark, level):
    for number in range(6):
        pixels = np.asarray(crop(number, replace(CLEAN, dark=dark))[0].convert("L"))
        assert level[0] <= np.median(pixels) <= level[1]


@pytest.mark.parametrize(("colored", "expected"), [(0.0, False), (1.0, True)])
def test_ink_is_colored_as_the_style_says(colored, expected):
    """Gray paper and gray ink have one level in all channels, or nearly."""
    spread = [
        np.ptp(np.asarray(crop(number, replace(CLEAN, colored=colored))[0]).astype(int), axis=2).max()
        for number in range(8)
    ]
    assert (max(spread) > 110) == expected


def test_colored_print_can_be_told_from_its_paper():
    for number in range(30):
        image, printed = crop(number, replace(CLEAN, colored=1.0, dark=0.5))
        gray = np.asarray(image.convert("L")).astype(int)
        spans = [
            np.ptp(gray[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1])
            for x0, y0, x1, y1 in printed.boxes[inside(printed)]
        ]
        assert not spans or np.median(spans) > 20


class TestScales:
    def test_at_the_beginning_all_print_is_set_at_its_size(self):
        rng = np.random.default_rng(3)
        scales = [draw_scales(rng, CLEAN, 0.0) for _ in range(200)]
        assert {*scales} == {(1.0, 1.0)}

    def test_later_some_is_made_smaller_and_squeezed_no_further_than_the_style_says(self):
        rng = np.random.default_rng(3)
        scales = np.array([draw_scales(rng, CLEAN, 1.0) for _ in range(2000)])
        across, down = scales.T
        assert 0.5 < (down < 1).mean() < 0.7
        assert down.min() > 1 / 2.6
        squeeze = across / down
        assert squeeze.max() == pytest.approx(CLEAN.most_squeeze, abs=1e-9)
        assert squeeze.min() == pytest.approx(1 / CLEAN.most_squeeze, abs=1e-9)
        assert np.median(squeeze) == pytest.approx(1.0)


def set_page(dx: int, dy: int) -> tuple[Image.Image, Print]:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    type_, draw = Type(trained().faces[0].path, 11.0), ImageDraw.Draw(image)
    lines = ["Moved by some", "pixels a page", "reads alike"]
    parts = [type_.set(draw, 11.3 + dx, 31 + 29 * row + dy, line, (0, 0, 0)) for row, line in enumerate(lines)]
    return image, Print.join(parts)


def named(sample: dict) -> list[str]:
    rows = ["".join(CHARACTERS[code] for code in row if code != NONE) for row in sample["classes"].tolist()]
    return [row for row in rows if row]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(across=st.integers(1, 13), down=st.integers(1, 13))
def test_a_page_that_is_moved_by_some_pixels_has_the_same_text_and_targets_that_are_moved_with_it(across, down):
    samples, images = [], []
    for dx, dy in ((0, 0), (across, down)):
        image, printed = set_page(dx, dy)
        images.append(np.asarray(image))
        samples.append(crop_sample(image, printed, PATCH, (3, 5)))
    before, after = samples
    assert np.array_equal(images[1][down:, across:], images[0][:-down, :-across])
    assert named(before) == named(after) == ["Movedbysome", "pixelsapage", "readsalike"]
    lines = [(before["classes"] >= 0).any(1).nonzero()[:, 0], (after["classes"] >= 0).any(1).nonzero()[:, 0]]
    for first, second in zip(*lines, strict=True):
        assert 0 <= second - first <= 1
        count = int((before["classes"][first] >= 0).sum())
        moved = after["places"][second, :count] - before["places"][first, :count]
        assert moved.numpy() == pytest.approx(np.full(count, across * SLOTS / PATCH), abs=1e-4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(across=st.integers(1, 13), down=st.integers(1, 13))
def test_a_crop_further_along_a_page_shows_the_same_text_so_much_nearer(across, down):
    image, printed = set_page(17, 19)
    whole = crop_sample(image, printed, PATCH, (0, 0))
    cut = image.crop((across, down, across + SIDE, down + SIDE))
    moved = crop_sample(cut, printed.within(across, down, across + SIDE, down + SIDE), PATCH, (0, 0))
    assert named(moved) == named(whole)
    count = int((whole["classes"] >= 0).sum())
    places = [sample["places"][sample["classes"] >= 0].numpy() for sample in (whole, moved)]
    assert places[0] - places[1] == pytest.approx(np.full(count, across * SLOTS / PATCH), abs=1e-4)
