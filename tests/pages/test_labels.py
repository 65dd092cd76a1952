"""Classes of patches against their definition written slowly."""

import numpy as np
import pytest
from PIL import Image

from llava.pages import (
    CHARACTERS,
    COLORS,
    FAMILIES,
    NONE,
    SHAPES,
    Mark,
    Page,
    PageQuestion,
    answer_patches,
    evidence_patches,
    inked_patches,
    patch_labels,
    patch_words,
    patches_under,
)
from tests.pages_helpers import pages


def labels_by_loops(page: Page, grid: tuple[int, int], slots: int):
    """The definition: characters by their centers, single ones all over their boxes, then shapes in drawing order."""
    rows, columns = grid
    characters = [[[] for _ in range(columns)] for _ in range(rows)]
    owners = np.full(grid, NONE)
    shapes = np.full(grid, NONE)
    for index, mark in enumerate(page.marks):
        for place, letter in enumerate(mark.text):
            x, y = (mark.edges[place] + mark.edges[place + 1]) / 2, (mark.box[1] + mark.box[3]) / 2
            row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
            if letter != " ":
                if not characters[row][column]:
                    owners[row, column] = index
                characters[row][column].append(CHARACTERS.index(letter))
    centered = [[list(found) for found in line] for line in characters]
    for drawn in ("letters", "shapes"):
        for index, mark in enumerate(page.marks):
            if not (mark.shape if drawn == "shapes" else len(mark.text) == 1):
                continue
            for row in range(rows):
                for column in range(columns):
                    x0, x1 = (mark.box[side] * columns for side in (0, 2))
                    y0, y1 = (mark.box[side] * rows for side in (1, 3))
                    covers = x0 <= column + 0.5 <= x1 and y0 <= row + 0.5 <= y1
                    x, y = ((mark.box[side] + mark.box[side + 2]) / 2 for side in (0, 1))
                    holds = int(x * columns) == column and int(y * rows) == row
                    if mark.shape and (covers or holds):
                        owners[row, column], shapes[row, column] = index, SHAPES.index(mark.shape)
                    elif not mark.shape and covers and not centered[row][column] and not characters[row][column]:
                        owners[row, column] = index
                        characters[row][column].append(CHARACTERS.index(mark.text))
    table = np.full((rows, columns, slots), NONE)
    for row in range(rows):
        for column in range(columns):
            for slot, letter in enumerate(characters[row][column][:slots]):
                table[row, column, slot] = letter
    return table, shapes, owners


@pytest.mark.parametrize(
    ("style", "grid", "slots"), [("shapes", (12, 12), 2), ("typed", (24, 19), 2), ("full", (31, 48), 5)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_labels_equal_the_slow_definition(family, style, grid, slots):
    for page in pages(family, style, "train")[:2]:
        labels = patch_labels(page, grid, slots=slots)
        table, shapes, owners = labels_by_loops(page, grid, slots)
        np.testing.assert_array_equal(labels.characters, table)
        np.testing.assert_array_equal(labels.shapes, shapes)
        np.testing.assert_array_equal(labels.owners, owners)
        for row in range(grid[0]):
            for column in range(grid[1]):
                owner = labels.owners[row, column]
                if owner == NONE:
                    assert labels.colors[row, column] == labels.rows[row, column] == labels.columns[row, column] == NONE
                    continue
                mark = page.marks[owner]
                assert COLORS[labels.colors[row, column]] == mark.color
                for index, names, label in (
                    (labels.rows[row, column], labels.row_labels, mark.row),
                    (labels.columns[row, column], labels.column_labels, mark.column),
                    (labels.panels[row, column], labels.panel_labels, mark.panel),
                ):
                    assert (None if index == NONE else names[index]) == label


def planted(**changes) -> Page:
    """A page whose 7 x 7 patches are known by hand."""
    word = Mark(text="a b", color="black", box=(0.0, 0.3, 0.5, 0.4), edges=(0.0, 1 / 7, 2 / 7, 3 / 7), row="x")
    star = Mark(shape="star", color="red", box=(5.1 / 7, 5.1 / 7, 5.3 / 7, 5.3 / 7), column="y")
    return Page(image=Image.new("RGB", (70, 70)), paper=(0, 0, 0), questions=(), marks=(word, star), **changes)


def test_planted_marks_are_found():
    labels = patch_labels(planted(), (7, 7))
    assert labels.characters[2, 0].tolist() == [CHARACTERS.index("a"), NONE, NONE, NONE]
    assert labels.characters[2, 2, 0] == CHARACTERS.index("b")
    assert (labels.characters != NONE).sum() == 2
    assert labels.shapes[5, 5] == SHAPES.index("star")
    assert (labels.shapes != NONE).sum() == 1
    assert labels.rows[2, 0] == 0
    assert labels.columns[5, 5] == 0
    assert labels.rows[5, 5] == labels.columns[2, 0] == NONE


def test_a_large_letter_shows_on_every_patch_whose_center_it_holds():
    letter = Mark(text="A", color="red", box=(0.2, 0.2, 0.65, 0.65), edges=(0.2, 0.65))
    word = Mark(text="bc", color="red", box=(0.7, 0.2, 1.0, 0.65), edges=(0.7, 0.8, 1.0))
    page = Page(image=Image.new("RGB", (70, 70)), paper=(0, 0, 0), questions=(), marks=(letter, word))
    labels = patch_labels(page, (7, 7))
    shown = labels.characters[..., 0] == CHARACTERS.index("A")
    assert shown.sum() == 16
    assert shown[1:5, 1:5].all()
    assert (labels.owners[shown] == 0).all()
    assert (labels.characters == CHARACTERS.index("b")).sum() == 1


def test_a_page_without_print_has_no_characters():
    page = Page(image=Image.new("RGB", (70, 70)), paper=(0, 0, 0), questions=(), marks=())
    labels = patch_labels(page, (7, 7))
    assert (labels.characters == NONE).all()
    assert (labels.owners == NONE).all()
    assert (labels.colors == NONE).all()


def words_by_loops(page: Page, grid: tuple[int, int]) -> list[list[str]]:
    """The word that covers most of each patch, among those that share a third of the lesser width and height."""
    rows, columns = grid
    table = [["" for _ in range(columns)] for _ in range(rows)]
    for row in range(rows):
        for column in range(columns):
            most = 0.0
            for mark in page.marks:
                for word, (x0, y0, x1, y1) in mark.words():
                    wide = min(x1 * columns, column + 1) - max(x0 * columns, column)
                    high = min(y1 * rows, row + 1) - max(y0 * rows, row)
                    across, down = wide / min((x1 - x0) * columns, 1), high / min((y1 - y0) * rows, 1)
                    if min(across, down) > 1 / 3 - 1e-6 and across * down > most + 1e-6:
                        most, table[row][column] = across * down, word.strip(":.,") or word
    return table


@pytest.mark.parametrize(
    ("family", "style", "grid"), [("doc_page", "shapes", (13, 11)), ("chart_page", "full", (11, 17))]
)
def test_words_over_patches_agree_with_the_slow_definition(family, style, grid):
    for page in pages(family, style, "train")[:6]:
        ids, words = patch_words(page, grid)
        named = [[words[place] if place != NONE else "" for place in row] for row in ids.tolist()]
        assert named == words_by_loops(page, grid)
        assert len({*ids.flatten().tolist()}) > 5


def test_no_word_is_over_the_patches_of_a_page_without_print():
    page = Page(image=Image.new("RGB", (70, 70)), paper=(0, 0, 0), questions=(), marks=())
    ids, words = patch_words(page, (7, 7))
    assert words == ()
    assert (ids == NONE).all()
    with pytest.raises(ValueError, match=r"grid must be positive, got \(0, 7\)"):
        patch_words(page, (0, 7))


def test_words_of_a_run_have_their_own_boxes():
    (first, left), (second, right) = planted().marks[0].words()
    assert (first, second) == ("a", "b")
    assert left == (0.0, 0.3, 1 / 7, 0.4)
    assert right == (2 / 7, 0.3, 3 / 7, 0.4)


def test_patches_under_boxes_share_an_area_with_them():
    box, other = (0.21, 0.5, 0.43, 0.62), (0.0, 0.0, 1 / 17, 1 / 13)
    question = PageQuestion(kind="at", question="?", answer="!", answer_boxes=(box,), evidence=(other, box))
    expected = np.zeros((13, 17), dtype=bool)
    for row in range(13):
        for column in range(17):
            wide = min(box[2], (column + 1) / 17) - max(box[0], column / 17)
            high = min(box[3], (row + 1) / 13) - max(box[1], row / 13)
            expected[row, column] = wide > 0 and high > 0
    np.testing.assert_array_equal(answer_patches(question, (13, 17)), expected)
    expected[0, 0] = True
    np.testing.assert_array_equal(evidence_patches(question, (13, 17)), expected)
    assert not patches_under((), (13, 17)).any()


def test_ink_is_a_wide_span_of_luma():
    image = Image.new("RGB", (33, 26), (200, 200, 200))
    image.putpixel((0, 0), (137, 137, 137))
    image.putpixel((32, 13), (136, 136, 136))
    expected = np.zeros((2, 3), dtype=bool)
    expected[1, 2] = True
    np.testing.assert_array_equal(inked_patches(image, (2, 3)), expected)
    with pytest.raises(ValueError, match="tile"):
        inked_patches(image, (2, 5))


@pytest.mark.parametrize(("grid", "slots"), [((0, 7), 1), ((7, 0), 1), ((7, 7), 0)])
def test_sizes_must_be_positive(grid, slots):
    with pytest.raises(ValueError, match="positive"):
        patch_labels(planted(), grid, slots=slots)
