"""Sheets that are printed on freely: boxes hold exactly the ink, wherever and however print is aligned."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from llava.pages import COLORS, FAMILIES, STYLES, Page, PageStyle, draw_page
from llava.pages.glyphs import Face
from llava.pages.print_sheet import PrintSheet, open_sheet
from llava.pages.sheet import RasterSheet
from llava.pages.theme import Looks, Theme, draw_theme
from llava.pages.wear import Wear
from tests.print_helpers import bundled_faces, contrast

CLEAN = Wear().scaled(0.0)
SMALL = replace(STYLES["print_small"], looks=Looks(side=331, sizes=(9.0, 13.0)), wear=CLEAN)


@pytest.fixture(autouse=True)
def _bundled() -> Iterator[None]:
    with bundled_faces():
        yield


@pytest.fixture
def theme() -> Theme:
    drawn = draw_theme(np.random.default_rng(4), Looks(side=211, dark=0.0, tinted=0.0))
    return replace(drawn, width=307, height=211, size=17.0)


def sheet_of(theme: Theme, wear: Wear = CLEAN) -> PrintSheet:
    return PrintSheet(np.random.default_rng(1), theme, wear)


def inked(page: Page, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The box of what differs from the paper, within some pixels around a box."""
    ink = contrast(page.image, page.paper) > 60
    height, width = ink.shape
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    left, top = max(0, int(x0) - 4), max(0, int(y0) - 4)
    rows, columns = np.nonzero(ink[top : int(y1) + 5, left : int(x1) + 5])
    return left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1


@pytest.mark.parametrize("align", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("strong", [False, True])
def test_the_box_of_print_holds_its_ink_and_no_more(theme, align, strong):
    sheet = sheet_of(theme)
    box = sheet.text(150.4, 90.7, "Query 58", sheet.face(23, strong=strong), align=align)
    page = sheet.finish(())
    (mark,) = page.marks
    assert mark.box == box
    pixels = np.array(box) * [307, 211, 307, 211]
    assert np.array(inked(page, box)) == pytest.approx(pixels, abs=1.6)
    width = sheet.face(23, strong=strong).width("Query 58")
    assert mark.edges[0] * 307 == pytest.approx(150.4 - align * width)
    assert mark.edges[-1] * 307 == pytest.approx(150.4 + (1 - align) * width)


def test_a_mark_tells_where_every_character_stands(theme):
    sheet = sheet_of(theme)
    sheet.text(31.5, 90.0, "ab cd", sheet.face(), "red", row="r", column="c", label=True)
    page = sheet.finish(())
    (mark,) = page.marks
    assert (mark.text, mark.color, mark.row, mark.column, mark.label) == ("ab cd", "red", "r", "c", True)
    assert (mark.base * 211, mark.size * 211) == pytest.approx((90.0, 17.0))
    printed, owners, places = page.print()
    assert printed.texts() == ["ab", "cd"]
    assert printed.left == pytest.approx(31.5 + np.array(sheet.face().pens("ab cd"))[[0, 1, 3, 4]])
    assert owners.tolist() == [0] * 4
    assert places.tolist() == [0, 1, 3, 4]
    assert dict(mark.words())["cd"][0] == mark.edges[3]


def test_print_is_in_the_color_that_is_said(theme):
    sheet = sheet_of(theme)
    box = sheet.text(31, 90, "MMM", sheet.face(29, strong=True), "green")
    pixels = np.asarray(sheet.finish(()).image)
    x0, y0, x1, y1 = (int(value) for value in np.array(box) * [307, 211, 307, 211])
    darkest = pixels[y0:y1, x0:x1].reshape(-1, 3)
    assert theme.palette.colors["green"] in {tuple(pixel) for pixel in darkest.tolist()}


@pytest.mark.parametrize("words", [" ", "   "])
def test_print_that_leaves_no_ink_is_refused(theme, words):
    sheet = sheet_of(theme)
    with pytest.raises(ValueError, match="nothing to print"):
        sheet.text(31, 90, words, sheet.face())
    assert sheet.num_marks == 0


def test_wear_comes_over_the_page_when_it_is_finished(theme):
    clean, worn = (sheet_of(theme, wear).finish(()) for wear in (CLEAN, replace(CLEAN, noise=1.0)))
    assert contrast(clean.image, clean.paper).max() == 0
    assert contrast(worn.image, worn.paper).std() > 0


def test_a_style_opens_the_sheet_that_it_asks_for():
    free = open_sheet(np.random.default_rng(3), SMALL)
    assert isinstance(free, PrintSheet)
    assert (free.print_size, free.pitch) == (free.theme.size, 0)
    typed = open_sheet(np.random.default_rng(3), STYLES["shapes"], pitch=7)
    assert isinstance(typed, RasterSheet)
    assert typed.pitch == 7
    assert isinstance(typed.face(), Face)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", ["train", "shifted"])
class TestFreelyPrintedPages:
    """Of every family; what stands on documents has tests of its own."""

    def pages(self, family: str, split: str, style: PageStyle = SMALL) -> list[Page]:
        return [draw_page(family, split, 3, index, style) for index in range(6)]

    def test_marks_are_inside_and_inked_and_their_names_known(self, family, split):
        for page in self.pages(family, split):
            differs = contrast(page.image, page.paper) > 30
            width, height = page.image.size
            for mark in page.marks:
                x0, y0, x1, y1 = mark.box
                assert -0.001 <= x0 < x1 <= 1.001
                assert -0.001 <= y0 < y1 <= 1.001
                assert bool(mark.text) != bool(mark.shape)
                assert mark.color in COLORS
                assert not mark.text or len(mark.edges) == len(mark.text) + 1
                a, c, b, d = round(x0 * width), round(x1 * width), round(y0 * height), round(y1 * height)
                assert mark.color == "white" or differs[b : max(d, b + 1), a : max(c, a + 1)].any(), mark

    def test_answers_and_evidence_are_marks(self, family, split):
        for page in self.pages(family, split):
            boxes = {mark.box for mark in page.marks}
            assert page.questions
            for question in page.questions:
                assert {*question.answer_boxes, *question.evidence} <= boxes
                assert question.answer

    def test_the_same_number_is_the_same_page_and_another_is_another(self, family, split):
        first, again = self.pages(family, split)[:3], self.pages(family, split)[:3]
        assert [page.marks for page in first] == [page.marks for page in again]
        assert [page.questions for page in first] == [page.questions for page in again]
        assert [page.image.tobytes() for page in first] == [page.image.tobytes() for page in again]
        assert len({page.image.tobytes() for page in first}) == 3
