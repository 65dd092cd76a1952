"""Characters and their places: what happens to a picture happens to its print."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava.pages.print import Print
from tests.print_helpers import equal_prints, line_print

WIDTH, HEIGHT = 97, 61
quick = settings(max_examples=40, deadline=None, derandomize=True)
PRINT = line_print("to be", x=7.5, base=31.0, size=13.0, advance=5.0)
EMPTY = Print.join([])


def middles_of_spots(image: Image.Image) -> list[tuple[float, float]]:
    """Middles of the spots on a picture, one for each channel."""
    pixels = np.asarray(image).astype(float)
    found = []
    for channel in range(3):
        mass = pixels[..., channel]
        y, x = np.mgrid[: mass.shape[0], : mass.shape[1]] + 0.5
        found.append((float((mass * x).sum() / mass.sum()), float((mass * y).sum() / mass.sum())))
    return found


def spots(places: list[tuple[int, int]]) -> tuple[Image.Image, Print]:
    """Three spots of 3 x 3 pixels, each in a channel of its own, and characters whose advance has its middle there, on
    a baseline through it."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for channel, (x, y) in enumerate(places):
        pixels[y - 1 : y + 2, x - 1 : x + 2, channel] = 255
    middles = np.array(places, dtype=float) + 0.5
    return Image.fromarray(pixels), Print(
        classes=np.arange(3),
        left=middles[:, 0] - 2,
        right=middles[:, 0] + 2,
        base=middles[:, 1],
        size=np.full(3, 11.0),
        word=np.arange(3),
    )


PLACES = [(17, 11), (53, 43), (83, 29)]


def places_of(printed: Print) -> list[tuple[float, float]]:
    return list(zip(((printed.left + printed.right) / 2).tolist(), printed.base.tolist(), strict=True))


class TestPictures:
    """Each compared with what Pillow does to a picture."""

    @pytest.mark.parametrize("degrees", [-4.0, -1.5, 2.0, 3.0])
    def test_turned_print_stands_where_the_picture_has_it(self, degrees):
        image, printed = spots(PLACES)
        turned = printed.turned(degrees, WIDTH / 2, HEIGHT / 2)
        seen = middles_of_spots(image.rotate(degrees, Image.Resampling.BICUBIC))
        for place, ink, before in zip(places_of(turned), seen, places_of(printed), strict=True):
            assert place == pytest.approx(ink, abs=0.2)
            assert place == pytest.approx(before, abs=5)
        assert places_of(turned)[0] != pytest.approx(places_of(printed)[0], abs=0.5)
        assert turned.right - turned.left == pytest.approx(printed.right - printed.left)
        assert turned.size is printed.size

    def test_scaled_print_stands_where_the_picture_has_it(self):
        image, printed = spots(PLACES)
        resized = image.resize((WIDTH * 3, HEIGHT * 2), Image.Resampling.BOX)
        scaled = printed.scaled(3, 2)
        for place, ink in zip(places_of(scaled), middles_of_spots(resized), strict=True):
            assert place == pytest.approx(ink, abs=0.2)
        assert scaled.size.tolist() == [22.0] * 3
        assert (scaled.right - scaled.left).tolist() == [12.0] * 3

    def test_cut_print_stands_where_the_picture_has_it(self):
        image, printed = spots(PLACES)
        cut = printed.within(41, 19, 97, 61)
        pixels = np.asarray(image.crop((41, 19, 97, 61)))
        assert cut.classes.tolist() == [1, 2]
        for code, (x, y) in zip(cut.classes.tolist(), places_of(cut), strict=True):
            assert pixels[int(y), int(x), code] == 255


class TestWithin:
    def test_what_touches_a_rectangle_is_kept_and_nothing_else(self):
        # The letters' boxes are 5 wide from 7.5 on; the blank takes one, too.
        assert PRINT.within(12.5, 0, 40, 60).texts() == ["o", "be"]
        assert PRINT.within(12.4, 0, 40, 60).texts() == ["to", "be"]
        assert PRINT.within(0, 0, 22.6, 60).texts() == ["to", "b"]
        # From 0.78 em above the baseline to 0.22 below.
        assert len(PRINT.within(0, 31 + 0.22 * 13 + 0.1, 97, 61)) == 0
        assert len(PRINT.within(0, 31 + 0.22 * 13 - 0.1, 97, 61)) == 4
        assert len(PRINT.within(0, 0, 97, 31 - 0.78 * 13 - 0.1)) == 0
        assert len(PRINT.within(0, 0, 97, 31 - 0.78 * 13 + 0.1)) == 4

    def test_places_count_from_the_corner(self):
        found = PRINT.within(3, 5, 90, 60)
        assert found.left == pytest.approx(PRINT.left - 3)
        assert found.base == pytest.approx(PRINT.base - 5)

    @quick
    @given(x=st.integers(0, 60).map(lambda half: half / 2), y=st.integers(0, 60).map(lambda half: half / 2))
    def test_a_part_of_a_part_is_the_part(self, x, y):
        whole = PRINT.within(x, y, 50, 50)
        parts = PRINT.within(x / 2, y / 2, 60, 60).within(x / 2, y / 2, 50 - x / 2, 50 - y / 2)
        assert whole.classes.tolist() == parts.classes.tolist()
        assert whole.left == pytest.approx(parts.left)
        assert whole.base == pytest.approx(parts.base)


class TestJoin:
    def test_words_are_numbered_anew_and_stay_apart(self):
        joined = Print.join([PRINT, EMPTY, PRINT.shifted(0, 20), PRINT])
        assert len(joined) == 12
        assert joined.texts() == ["to", "be"] * 3
        assert joined.base.tolist() == [31.0] * 4 + [51.0] * 4 + [31.0] * 4
        assert len({*joined.word.tolist()}) == 6

    def test_of_nothing_is_nothing(self):
        assert len(EMPTY) == 0
        assert EMPTY.boxes.shape == (0, 4)
        assert EMPTY.middle.shape == (0, 2)
        assert EMPTY.texts() == []
        assert len(EMPTY.within(0, 0, 7, 7)) == 0


class TestPlaces:
    def test_boxes_hold_the_middles(self):
        x0, y0, x1, y1 = PRINT.boxes.T
        x, y = PRINT.middle.T
        assert (x == (x0 + x1) / 2).all()
        assert ((y0 < y) & (y < y1)).all()
        assert y1 - y0 == pytest.approx(PRINT.size)
        assert (y0 < PRINT.base).all()

    @quick
    @given(x=st.floats(-50, 50), y=st.floats(-50, 50), across=st.floats(0.5, 3), down=st.floats(0.5, 3))
    def test_boxes_and_middles_go_with_the_print(self, x, y, across, down):
        moved = PRINT.scaled(across, down).shifted(x, y)
        assert moved.boxes == pytest.approx(PRINT.boxes * [across, down, across, down] + [x, y, x, y])
        assert moved.middle == pytest.approx(PRINT.middle * [across, down] + [x, y])
        back = moved.shifted(-x, -y).scaled(1 / across, 1 / down)
        assert back.boxes == pytest.approx(PRINT.boxes)

    def test_a_turn_and_its_reverse_leave_print_where_it_was(self):
        back = PRINT.turned(2.3, 41, 17).turned(-2.3, 41, 17)
        assert back.boxes == pytest.approx(PRINT.boxes)
        assert equal_prints(PRINT.turned(0, 41, 17), PRINT)


@pytest.mark.parametrize("name", ["classes", "left", "right", "base", "size", "word"])
def test_arrays_of_different_lengths_are_refused(name):
    parts = {key: value[:3] if key == name else value for key, value in vars(PRINT).items()}
    with pytest.raises(ValueError, match="of one length"):
        Print(**parts)
