"""Pages of PDFs: every character stands where the picture shows it, whatever the page's box, turn and scale."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava.pages.characters import NONE
from llava.pages.pdf import open_pdf, pdf_page, read_page
from llava.pages.print import Print
from tests.print_helpers import contrast, spelled, write_text_pdf

quick = settings(max_examples=12, deadline=None, derandomize=True)
WIDTH, HEIGHT = 301, 203
WHITE = (255, 255, 255)


def text(x: float, y: float, words: str, size: float = 17.0, matrix: str = "1 0 0 1") -> str:
    return f"BT /F {size} Tf {matrix} {x} {y} Tm ({words}) Tj ET "


def one_page(tmp_path: Path, content: str, **changes: object) -> Path:
    return write_text_pdf(tmp_path / "page.pdf", content, **changes)  # type: ignore[arg-type]


def check_ink(image: Image.Image, printed: Print) -> None:
    """Every box holds ink, and no ink lies outside all boxes; italics lean over the borders of theirs."""
    ink = contrast(image, WHITE) > 90
    outside = ink.copy()
    for (x0, y0, x1, y1), size in zip(printed.boxes, printed.size, strict=True):
        over = 0.12 * size
        rows, columns = slice(max(0, int(y0 - 1)), int(y1 + 2)), slice(max(0, int(x0 - over)), int(x1 + over) + 1)
        assert ink[rows, columns].any()
        outside[rows, columns] = False
    assert not outside.any()


def test_characters_stand_where_the_file_sets_them(tmp_path):
    """Courier takes 0.6 em a character, and y counts from the page's foot."""
    image, printed = pdf_page(one_page(tmp_path, text(23, 61, "To be; 42")), scale=2)
    assert image.size == (2 * WIDTH, 2 * HEIGHT)
    assert image.mode == "RGB"
    assert printed.texts() == ["To", "be;", "42"]
    places = np.array([0, 1, 3, 4, 5, 7, 8])
    assert printed.left == pytest.approx(2 * (23 + 0.6 * 17 * places), abs=0.1)
    assert printed.right == pytest.approx(printed.left + 2 * 0.6 * 17, abs=0.3)  # with an overhang
    assert printed.base == pytest.approx(np.full(7, 2 * (HEIGHT - 61)), abs=0.1)
    assert printed.size == pytest.approx(np.full(7, 2 * 17), rel=0.003)
    check_ink(image, printed)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pages_are_read_in_their_box_and_their_turn(tmp_path, degrees):
    """The text leans the other way in the file, so that it stands level on the page."""
    matrix = {0: "1 0 0 1", 90: "0 1 -1 0", 180: "-1 0 0 -1", 270: "0 -1 1 0"}[degrees]
    content = text(131, 131, "fig", matrix=matrix) + text(131, 83, "JUP", matrix=matrix)
    path = one_page(tmp_path, content, media=(11, 29, 11 + WIDTH, 29 + HEIGHT), more=f"/Rotate {degrees}")
    image, printed = pdf_page(path, scale=1.5)
    assert (image.width > image.height) == (degrees in (0, 180))
    assert sorted(printed.texts()) == ["JUP", "fig"]
    assert (printed.classes != NONE).all()
    assert printed.size == pytest.approx(np.full(6, 1.5 * 17), rel=0.003)
    check_ink(image, printed)


def test_what_does_not_stand_level_is_print_that_cannot_be_named(tmp_path):
    content = text(151, 61, "up", matrix="0 1 -1 0") + text(23, 61, "mirror", matrix="1 0 0 -1") + text(23, 151, "yes")
    image, printed = pdf_page(one_page(tmp_path, content), scale=2)
    assert sorted("".join(printed.texts())) == sorted("?" * 8 + "yes")
    assert "yes" in printed.texts()
    check_ink(image, printed)


@pytest.mark.parametrize(("degrees", "read"), [(-2, True), (2, True), (-5, False), (5, False)])
def test_print_may_lean_a_little(tmp_path, degrees, read):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = f"{cosine:.5f} {sine:.5f} {-sine:.5f} {cosine:.5f}"
    _, printed = pdf_page(one_page(tmp_path, text(43, 61, "ab", matrix=matrix)), scale=2)
    assert printed.texts() == ["ab" if read else "??"]


def test_type_that_is_stretched_by_its_matrix_has_the_size_it_is_seen_in(tmp_path):
    _, printed = pdf_page(one_page(tmp_path, text(23, 61, "ab", size=1, matrix="23 0 0 13")), scale=3)
    assert printed.size == pytest.approx([39, 39])
    assert printed.right - printed.left == pytest.approx([0.6 * 23 * 3] * 2, abs=0.1)


class TestWords:
    """Numbers in an array of a text move the pen back by thousandths of an em."""

    def texts(self, tmp_path: Path, array: str) -> list[str]:
        return pdf_page(one_page(tmp_path, f"BT /F 17 Tf 23 61 Td [{array}] TJ ET"), scale=1)[1].texts()

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            ("(ab)(cd)", ["abcd"]),
            ("(ab) 90 (cd)", ["abcd"]),
            ("(ab) -60 (cd)", ["abcd"]),
            ("(ab) -400 (cd)", ["ab", "cd"]),
            ("(ab) 2900 (cd)", ["ab", "cd"]),
        ],
    )
    def test_gaps_part_words_and_kerning_does_not(self, tmp_path, array, words):
        assert self.texts(tmp_path, array) == words

    def test_lines_part_words(self, tmp_path):
        content = "BT /F 17 Tf 23 61 Td (ab) Tj 20.4 -19 Td (cd) Tj 20.4 9 Td (ef) Tj ET"
        assert pdf_page(one_page(tmp_path, content), scale=1)[1].texts() == ["ab", "cd", "ef"]


@quick
@given(width=st.integers(150, 900))
def test_a_page_of_any_width_has_the_same_print(tmp_path_factory, width):
    path = tmp_path_factory.getbasetemp() / "any_width.pdf"
    if not path.exists():
        write_text_pdf(path, text(23, 61, "Width is") + text(37, 113, "free", size=9))
    image, printed = pdf_page(path, width=width)
    _, once = pdf_page(path, scale=1)
    assert abs(image.width - width) <= 1
    assert printed.texts() == once.texts()
    expected = once.scaled(image.width / WIDTH, image.height / HEIGHT)
    assert printed.boxes == pytest.approx(expected.boxes, abs=0.15)


@quick
@given(across=st.integers(1, 13), down=st.integers(1, 13))
def test_a_page_that_is_moved_by_some_pixels_has_the_same_print_so_many_pixels_further(tmp_path_factory, across, down):
    folder = tmp_path_factory.mktemp("moved")
    content = text(53, 61, "Moved by") + text(37, 113.5, "pixels", size=9)
    still, moved = (
        pdf_page(write_text_pdf(folder / f"{x}_{y}.pdf", content, media=(-x, y, WIDTH - x, HEIGHT + y)), scale=1)
        for x, y in ((0, 0), (across, down))
    )
    assert moved[1].texts() == still[1].texts() == ["Moved", "by", "pixels"]
    assert moved[1].boxes == pytest.approx(still[1].boxes + np.array([across, down, across, down]), abs=0.05)
    before, after = (np.asarray(image) for image, _ in (still, moved))
    assert np.array_equal(after[down:, across:], before[:-down, :-across])


def test_pages_of_other_software_agree_with_what_they_show(tmp_path):
    """matplotlib embeds its own face, sets it glyph by glyph, and turns the label of an axis upright."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3))
    FigureCanvasPdf(figure)
    figure.text(0.2, 0.81, "Quarterly numbers", fontsize=13)
    figure.text(0.2, 0.42, "12,607.50 paid", fontsize=9)
    figure.text(0.05, 0.2, "upright", fontsize=11, rotation=90)
    figure.savefig(tmp_path / "figure.pdf")
    image, printed = pdf_page(tmp_path / "figure.pdf", width=577)
    assert printed.texts()[:4] == ["Quarterly", "numbers", "12,607.50", "paid"]
    assert "".join(printed.texts()[4:]) == "???????"
    scale = 577 / (4 * 72)
    level = printed.classes != NONE
    assert printed.size[level] == pytest.approx(np.repeat([13, 9], [16, 13]) * scale, rel=0.01)
    assert printed.base[level] == pytest.approx(np.repeat([0.19, 0.58], [16, 13]) * image.height, abs=0.6)
    assert printed.left[0] == pytest.approx(0.2 * 577, abs=2)
    check_ink(image, printed)


def test_pages_are_counted_from_one_and_all_can_be_read(tmp_path):
    path = write_text_pdf(tmp_path / "three.pdf", *(text(23, 61, word) for word in ("one", "two", "three")))
    assert [spelled(pdf_page(path, number, scale=1)[1]) for number in (1, 2, 3)] == ["one", "two", "three"]
    with open_pdf(path) as document:
        assert [spelled(read_page(document, index, scale=1)[1]) for index in range(3)] == ["one", "two", "three"]


def test_a_page_without_print_has_none(tmp_path):
    image, printed = pdf_page(one_page(tmp_path, "30 30 50 50 re f"), width=97)
    assert len(printed) == 0
    assert contrast(image, WHITE).any()


def test_what_cannot_be_read_is_refused(tmp_path):
    path = one_page(tmp_path, text(23, 61, "one"))
    with pytest.raises(FileNotFoundError, match=r"no PDF .*nope\.pdf"):
        pdf_page(tmp_path / "nope.pdf", width=97)
    (tmp_path / "text.pdf").write_text("no PDF at all")
    with pytest.raises(ValueError, match=r"text\.pdf cannot be opened as a PDF"):
        pdf_page(tmp_path / "text.pdf", width=97)
    for number in (0, 2):
        with pytest.raises(ValueError, match=f"has 1 pages and no page {number}"):
            pdf_page(path, number, width=97)
    for sizes in ({}, {"width": 97, "scale": 2.0}):
        with pytest.raises(ValueError, match="either the width"):
            pdf_page(path, **sizes)
