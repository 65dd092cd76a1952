"""Words set at any place: every character's box lies on the ink that it alone leaves."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from llava.pages.faces import SHIPPED, load_font
from llava.pages.typesetting import Type
from tests.print_helpers import spelled

FACES = ("LiberationSans-Regular.ttf", "LiberationSerif-Regular.ttf", "Caladea-Regular.ttf", "Quattrocento-Regular.otf")
MONO = SHIPPED / "LiberationMono-Regular.ttf"
WIDTH, HEIGHT = 331, 71


def ink_by_prefixes(type_: Type, x: float, base: float, words: str) -> list[NDArray[np.int64]]:
    """(height, width) of each character, the blanks' left out: what it adds to the print in front of it."""
    found, before = [], np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    for place, character in enumerate(words):
        image = Image.new("L", (WIDTH, HEIGHT))
        type_.set(ImageDraw.Draw(image), x, base, words[: place + 1], 255)
        after = np.asarray(image).astype(np.int64)
        if character != " ":
            found.append(np.maximum(after - before, 0))
        before = after
    return found


def centers(ink: NDArray[np.int64]) -> tuple[float, float]:
    """x and y of the middle of the ink's mass."""
    height, width = ink.shape
    mass = ink.sum()
    return float((ink.sum(0) * (np.arange(width) + 0.5)).sum() / mass), float(
        (ink.sum(1) * (np.arange(height) + 0.5)).sum() / mass
    )


@pytest.mark.parametrize("spacing", [0.0, 1.7])
@pytest.mark.parametrize("size", [9.25, 13.0, 23.5])
@pytest.mark.parametrize("name", FACES)
def test_boxes_of_characters_lie_on_the_ink_that_is_really_there(name, size, spacing):
    type_, words, x, base = Type(SHIPPED / name, size, spacing=spacing), "AV Waltz jug", 11.3, 40.6
    printed = type_.set(ImageDraw.Draw(Image.new("L", (WIDTH, HEIGHT))), x, base, words, 255)
    inks = ink_by_prefixes(type_, x, base, words)
    assert len(inks) == len(printed) == len(words.replace(" ", ""))
    for ink, box, letter in zip(inks, printed.boxes, words.replace(" ", ""), strict=True):
        rows, columns = np.flatnonzero(ink.max(1) > 40), np.flatnonzero(ink.max(0) > 40)
        x0, y0, x1, y1 = box
        slack = 0.14 * size + 0.5  # an overhang, and what is kerned between two letters of a word
        assert x0 - slack <= columns[0] < columns[-1] + 1 <= x1 + slack, letter
        assert y0 - 1 <= rows[0] < rows[-1] + 1 <= y1 + 1 + 0.09 * size, letter  # some faces hang deeper
        # "j" and "g" hang in a corner of their boxes.
        assert abs(centers(ink)[0] - (x0 + x1) / 2) < 0.16 * size + spacing / 2, letter


def test_small_letters_and_capitals_have_their_middle_where_it_is_said_to_be():
    type_ = Type(SHIPPED / FACES[0], 31)
    printed = type_.set(ImageDraw.Draw(Image.new("L", (WIDTH, HEIGHT))), 5, 47, "xH", 255)
    small, capital = (centers(ink)[1] for ink in ink_by_prefixes(type_, 5, 47, "xH"))
    assert capital < printed.middle[0, 1] < small
    assert small - capital < 0.15 * 31


@pytest.mark.parametrize("spacing", [0.0, 2.3])
def test_print_stands_on_the_pixel_nearest_to_its_place(spacing):
    type_ = Type(SHIPPED / FACES[1], 17, spacing=spacing)

    def middle(x: float, base: float) -> NDArray[np.float64]:
        image = Image.new("L", (WIDTH, HEIGHT))
        printed = type_.set(ImageDraw.Draw(image), x, base, "moved", 255)
        assert (printed.left[0], printed.base[0]) == (x, base)
        return np.array(centers(np.asarray(image).astype(np.int64)))

    moves = [(0.3, 0.0), (0.7, 0.0), (0.0, 0.3), (0.0, 0.7), (13.0, 7.0), (4.6, 2.8), (-7.4, -3.3)]
    for dx, dy in moves:
        assert middle(19 + dx, 37 + dy) - middle(19, 37) == pytest.approx([dx, dy], abs=0.55)
    mean = np.mean([middle(19 + dx / 7, 37 + dx / 7) for dx in range(7)], axis=0) - middle(19, 37)
    assert mean == pytest.approx([3 / 7, 3 / 7], abs=0.1), "rounded to one side only"


class TestPens:
    @pytest.mark.parametrize("spacing", [0.0, 1.25])
    def test_they_go_from_nothing_to_the_width_and_never_back(self, spacing):
        type_ = Type(SHIPPED / FACES[0], 19, spacing=spacing)
        for words in ("AVAVA To", "i", "", "x y"):
            pens = type_.pens(words)
            assert len(pens) == len(words) + 1
            assert pens[0] == 0
            assert pens[-1] == pytest.approx(type_.width(words))
            assert all(after > before for before, after in pairwise(pens))

    def test_in_type_of_one_width_they_are_evenly_apart(self):
        type_ = Type(MONO, 20)
        assert np.diff(type_.pens("iW. @")) == pytest.approx([type_.blank] * 5)

    def test_kerning_is_shared_out(self, monkeypatch):
        """As if every letter alone were a fifth wider than in the line."""
        type_ = Type(SHIPPED / FACES[0], 40)
        font = load_font(type_.path, 40)
        monkeypatch.setattr("llava.pages.typesetting.advance", lambda path, size, letter: 1.2 * font.getlength(letter))
        whole = font.getlength("Amen")
        shares = [font.getlength(letter) / sum(map(font.getlength, "Amen")) for letter in "Amen"]
        assert np.diff(type_.pens("Amen")) == pytest.approx(np.array(shares) * whole)


class TestWords:
    def test_blanks_part_words_and_leave_no_character(self):
        image = Image.new("L", (WIDTH, HEIGHT))
        printed = Type(MONO, 16).set(ImageDraw.Draw(image), 7, 31, "to  be or", 255)
        assert spelled(printed) == "tobeor"
        assert printed.texts() == ["to", "be", "or"]
        advance = Type(MONO, 16).blank
        assert printed.left == pytest.approx(7 + advance * np.array([0, 1, 4, 5, 7, 8]))
        assert printed.right == pytest.approx(printed.left + advance)

    def test_a_blank_in_front_begins_no_word_of_nothing(self):
        printed = Type(MONO, 16).set(ImageDraw.Draw(Image.new("L", (31, 31))), 0, 20, " a b", 255)
        assert printed.texts() == ["a", "b"]

    def test_what_has_no_class_is_print_all_the_same(self):
        printed = Type(MONO, 16).set(ImageDraw.Draw(Image.new("L", (31, 31))), 0, 20, "aЖ", 255)
        assert printed.texts() == ["a?"]

    def test_nothing_is_set_of_nothing(self):
        image = Image.new("L", (31, 31))
        assert len(Type(MONO, 16).set(ImageDraw.Draw(image), 0, 20, " ", 255)) == 0
        assert image.getbbox() is None


class TestType:
    @pytest.mark.parametrize(("asked", "given"), [(13, 13.0), (13.1, 13.0), (13.13, 13.25), (8.87, 8.75)])
    def test_sizes_are_rounded_to_quarters_of_a_pixel(self, asked, given):
        type_ = Type(MONO, asked)
        assert type_.size == given
        assert type_.set(ImageDraw.Draw(Image.new("L", (9, 9))), 0, 8, "a", 255).size.tolist() == [given]

    def test_a_face_can_set_what_it_has_shapes_for(self):
        type_ = Type(SHIPPED / "Cabin-Regular.otf", 13)
        assert type_.can_set("Grün & Söhne")
        assert not type_.can_set("Dvořák")

    def test_a_capital_is_as_high_as_its_ink(self):
        type_, image = Type(SHIPPED / FACES[0], 31), Image.new("L", (WIDTH, HEIGHT))
        type_.set(ImageDraw.Draw(image), 5, 47, "H", 255)
        box = image.getbbox()
        assert box is not None
        assert (box[3] - box[1], box[3]) == (type_.cap_height, 47)
