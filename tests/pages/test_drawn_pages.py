"""Drawn pages: the same everywhere, splits that share nothing, boxes that hold ink, and dense print."""

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.pages import (
    COLORS,
    FAMILIES,
    SHAPES,
    SPLITS,
    STYLES,
    PageStream,
    PageStyle,
    draw_page,
    inked_patches,
    lexicon,
)
from llava.pages.characters import CHARACTERS, PLAIN
from llava.pages.looks import SHIFTED_LOOK, TRAIN_LOOK, font_path
from llava.pages.sheet import RasterSheet
from llava.pages.stream import page_generator
from tests.pages_helpers import CASES, mark_at, pages, parts_of

DIGEST = """
import hashlib
from llava.pages import FAMILIES, draw_page, STYLES
for family in FAMILIES:
    for style in ("shapes", "full"):
        page = draw_page(family, "test", 11, 5, STYLES[style])
        facts = page.image.tobytes() + repr((page.questions, page.marks)).encode()
        print(family, style, hashlib.sha256(facts).hexdigest())
"""


def test_another_process_draws_the_same_pages_whatever_was_drawn_before():
    run = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    told = {tuple(line.split()[:2]): line.split()[2] for line in run.stdout.splitlines()}
    assert len(told) == len(FAMILIES) * 2
    draw_page("doc_page", "train", 1, 0)
    for (family, style), digest in told.items():
        page = draw_page(family, "test", 11, 5, STYLES[style])
        facts = page.image.tobytes() + repr((page.questions, page.marks)).encode()
        assert hashlib.sha256(facts).hexdigest() == digest


@pytest.mark.parametrize("family", FAMILIES)
def test_family_split_seed_and_index_each_change_the_page(family):
    def drawn(split: str, seed: int, index: int) -> bytes:
        return draw_page(family, split, seed, index, STYLES["shapes"]).image.tobytes()

    keys = [(split, seed, index) for split in set(SPLITS) - {"wild"} for seed in (0, 1, 7) for index in (0, 1, 7)]
    assert len({drawn(*key) for key in keys}) == len(keys)


def test_no_two_pages_share_a_stream_of_numbers():
    keys = list(product(FAMILIES, SPLITS, (0, 1, 2), (0, 1, 2)))
    assert len({page_generator(*key).bytes(16) for key in keys}) == len(keys)


def test_a_stream_goes_on_from_its_start_and_counts_from_the_beginning():
    stream = PageStream("entity_grid", "train", 2, start=3, style="shapes")
    first, second = (page for page, _ in zip(stream, range(2), strict=False))
    whole = PageStream("entity_grid", "train", 2, style=STYLES["shapes"])
    assert first.marks == whole[3].marks == stream[3].marks
    assert second.marks == whole[4].marks


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: draw_page("maps", "train", 0, 0), "family 'maps'"),
        (lambda: draw_page("doc_page", "dev", 0, 0), "split 'dev'"),
        (lambda: draw_page("doc_page", "train", -1, 0), "negative"),
        (lambda: PageStream("doc_page", "train", 0, -2), "negative"),
        (lambda: PageStream("doc_page", "train", 0, style="tiny"), "style 'tiny'"),
        (lambda: draw_page("doc_page", "test", 0, 0, replace(STYLES["shapes"], kinds=frozenset({"at"}))), "nothing"),
        (lambda: PageStyle(name="x", kinds=frozenset({"color"})), "kinds"),
        (lambda: PageStyle(name="x", side=100), "print_size"),
        (lambda: PageStyle(name="x", cell=(10, 40)), "cell"),
        (lambda: PageStyle(name="x", cell=(20, 40), print_size=(15, 15)), "cell must go up from 24"),
        (lambda: PageStyle(name="x", cell=(24, 40), print_size=(20, 20)), "cell must go up from 26"),
        (lambda: PageStyle(name="x", panels=2), "panels"),
        (lambda: font_path("Nowhere.ttf"), "Nowhere.ttf"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_shifted_look_shares_nothing_with_the_look_of_training():
    for part in ("fonts", "grid_layouts", "chart_layouts", "doc_layouts"):
        train, shifted = set(getattr(TRAIN_LOOK, part)), set(getattr(SHIFTED_LOOK, part))
        assert train
        assert shifted
        assert not train & shifted
    assert TRAIN_LOOK.wordings.keys() == SHIFTED_LOOK.wordings.keys()
    for kind in TRAIN_LOOK.wordings:
        assert not set(TRAIN_LOOK.wordings[kind]) & set(SHIFTED_LOOK.wordings[kind])

    def tones(look):
        return {tone for p in look.palettes for tone in (p.paper, p.tint, p.rule, *p.colors.values())}

    assert not tones(TRAIN_LOOK) & tones(SHIFTED_LOOK)


def test_splits_draw_in_their_own_look(monkeypatch):
    splits = SPLITS[:-1]  # wild pages have tests of their own
    used: dict[str, set[str]] = {split: set() for split in splits}
    papers: dict[str, set] = {split: set() for split in splits}
    for split in splits:
        monkeypatch.setattr("llava.pages.sheet.font_path", lambda name, s=split: used[s].add(name) or font_path(name))
        for family in FAMILIES:
            for index in range(12):
                page = draw_page(family, split, 5, index, STYLES["shapes"])
                papers[split].add(page.paper)
                assert all(
                    parts_of(question)
                    for question in page.questions
                    if "{" in "".join(TRAIN_LOOK.wordings[question.kind])
                )
    for split in splits:
        look, other = (SHIFTED_LOOK, TRAIN_LOOK) if split == "shifted" else (TRAIN_LOOK, SHIFTED_LOOK)
        assert used[split] <= set(look.fonts)
        assert len(used[split]) >= 5
        assert papers[split] == {palette.paper for palette in look.palettes}
        assert not papers[split] & {palette.paper for palette in other.palettes}


@pytest.mark.parametrize("name", [*TRAIN_LOOK.fonts, *SHIFTED_LOOK.fonts])
def test_fonts_print_every_character_differently(name):
    from llava.pages.glyphs import load_face

    glyphs = load_face(font_path(name), 24).glyphs
    shown = {(glyphs[c].mask.tobytes(), glyphs[c].top, glyphs[c].left) for c in PLAIN if c not in "Il|"}
    assert len(shown) == len(PLAIN) - 3


@pytest.mark.parametrize("words", [lexicon.FULL, lexicon.SMALL], ids=["full", "small"])
def test_names_on_a_page_mean_one_thing(words):
    names = [*words.fields, *words.columns, *lexicon.FACTS]
    counts = Counter(name.lower() for name in names)
    assert set(counts.values()) == {1}
    assert not set(words.series) & {name for pool in words.categories for name in pool}
    for pool in (words.items, words.series, lexicon.TOPICS, *words.shares, *words.categories):
        assert len(set(pool)) == len(pool) > 3
    assert not set(words.items) & {"Total", *words.columns}


def test_small_pages_use_only_words_that_can_be_named():
    assert {word for name in lexicon.SMALL.words for word in name.split()} <= set(lexicon.WORDS)
    for family in ("doc_page", "chart_page"):
        for page in pages(family, "shapes", "train"):
            for mark in page.marks:
                for word, _ in mark.words():
                    assert word.strip(":.") in lexicon.WORDS or len(word) <= 3, mark


@pytest.mark.parametrize(("style", "split"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_marks_are_inside_and_inked_and_their_classes_known(family, style, split):
    for page in pages(family, style, split):
        pixels = np.asarray(page.image).astype(int)
        side = STYLES[style].side
        assert pixels.shape == (side, side, 3)
        differs = abs(pixels - page.paper).max(axis=2) > 40
        for mark in page.marks:
            x0, y0, x1, y1 = mark.box
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert bool(mark.text) != bool(mark.shape)
            assert mark.color in COLORS
            assert not mark.shape or mark.shape in SHAPES
            assert set(mark.text) <= {*CHARACTERS, " "}
            assert not mark.text or len(mark.edges) == len(mark.text) + 1
            a, b, c, d = (round(value * side) for value in mark.box)
            assert differs[b : max(d, b + 1), a : max(c, a + 1)].any(), mark


@pytest.mark.parametrize(("style", "split"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_of_printed_words_are_tight(family, style, split):
    """The outermost columns of the box of an answer in print hold ink, and beyond them there is only ground."""
    tried = 0
    for page in pages(family, style, split):
        side = page.image.width
        pixels = np.asarray(page.image).astype(int)
        for question in page.questions:
            for box in question.answer_boxes:
                mark = next((mark for mark in page.marks if mark.box == box and mark.text), None)
                x0, y0, x1, y1 = (round(value * side) for value in box)
                if mark is None or x0 < 2 or x1 > side - 2 or family == "chart_page":
                    continue
                tried += 1
                ground = np.median(pixels[y0:y1, [x0 - 1, x1]].reshape(-1, 3), axis=0)
                contrast = abs(pixels[y0:y1, x0 - 1 : x1 + 1] - ground).max(axis=2)
                ink = contrast.max(axis=0)
                assert min(ink[1:3].max(), ink[-3:-1].max()) > 24, mark  # a first column may be faint
                beyond = np.sort(contrast[:, [0, -1]], axis=0)
                assert beyond[:-1].max() < 20, mark  # a rule may touch one row of the box
    assert tried > 5 or family == "chart_page"


@pytest.mark.parametrize(("style", "split"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_and_evidence_are_marks_and_evidence_is_named(family, style, split):
    for page in pages(family, style, split):
        boxes = {mark.box for mark in page.marks}
        for question in page.questions:
            assert question.answer_boxes or question.kind == "describe"
            assert {*question.answer_boxes, *question.evidence} <= boxes
            x0, y0, x1, y1 = question.answer_box
            assert all(x0 <= a and y0 <= b and c <= x1 and d <= y1 for a, b, c, d in question.answer_boxes)
            said = question.question.lower()
            for box in question.evidence:
                mark = mark_at(page, box)
                assert (mark.text or mark.shape).rstrip(":.").lower() in said or mark.color in said


def named_in(question) -> set[str]:
    """The words of a question that stand on the page as labels, values or figures."""
    parts = parts_of(question)
    words = {parts[gap] for gap in ("row", "column", "field", "value", "code", "color") if gap in parts}
    words |= {word for gap in ("entry", "other") for word in parts.get(gap, "").split(" in ")}
    words |= {parts.get(gap, "").split(" ")[-1] for gap in ("where", "scope", "name")}
    return {word.lower() for word in words if word}


@pytest.mark.parametrize(("style", "split"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_that_a_question_names_is_evidence(family, style, split):
    for page in pages(family, style, split):
        for question in page.questions:
            marks = [mark_at(page, box) for box in question.evidence]
            said = {words for mark in marks for words in (mark.text.rstrip(":.").lower(), mark.shape, mark.color)}
            assert named_in(question) <= said, question


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("split", ["train", "shifted"])
def test_full_pages_are_dense_and_their_print_is_small(family, split):
    """Ink: the luma of a patch spans at least 64 levels. Half of the pages must have it in more than 1,200 patches."""
    stream = PageStream(family, split, seed=1)
    drawn = [stream[index] for index in range(60)]
    counts = [int(inked_patches(page.image, (48, 48)).sum()) for page in drawn]
    assert sum(count > 1200 for count in counts) >= 30
    heights = [(mark.box[3] - mark.box[1]) * 384 for page in drawn for mark in page.marks if len(mark.text) > 1]
    assert np.quantile(heights, 0.9) < 8


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("style", STYLES)
def test_questions_vary(family, style):
    stream = PageStream(family, "train", seed=2, style=style)
    asked = [stream[index].questions for index in range(30)]
    questions = [question for page in asked for question in page]
    kinds = Counter(question.kind for question in questions)
    assert len(questions) >= 45
    assert len(kinds) >= 2
    assert set(kinds) <= set(STYLES[style].look.wordings)
    assert len({question.question for question in questions}) > 0.5 * len(questions)
    assert max(Counter(question.answer for question in questions).values()) < 0.45 * len(questions)
    for page in asked:
        assert len(page) <= STYLES[style].num_questions
        assert len({(q.kind, q.answer_boxes, q.evidence) for q in page}) == len(page)


def test_every_wording_is_used():
    for split, look in (("train", TRAIN_LOOK), ("shifted", SHIFTED_LOOK)):
        seen = {
            question.kind
            for family in FAMILIES
            for style in ("large_print", "full", "print_small")
            for page in pages(family, style, split)
            for question in page.questions
        }
        assert seen == set(look.wordings)


@settings(max_examples=12, deadline=None)
@given(
    family=st.sampled_from(list(FAMILIES)),
    side=st.sampled_from([168, 224, 336, 504]),
    size=st.integers(10, 18),
    cell=st.integers(34, 50),
    seed=st.integers(0, 2**32),
)
def test_any_size_of_page_and_print_can_be_drawn(family, side, size, cell, seed):
    style = replace(STYLES["shapes"], side=side, print_size=(size, size), cell=(cell, cell + 3))
    page = draw_page(family, "train", seed, 0, style)
    assert page.image.size == (side, side)
    assert page.questions
    assert all(min(mark.box) >= 0 and max(mark.box) <= 1 for mark in page.marks)


@pytest.mark.parametrize("split", ["train", "shifted"])
@pytest.mark.parametrize("family", ["doc_page", "chart_page"])
def test_typed_print_stands_in_cells_and_lines_do_not_touch(family, split):
    """Characters take ``pitch`` pixels each from a multiple of it, and lie within a line of twice that."""
    style = STYLES["shapes"]
    columns, lines = style.side / style.pitch, style.side / style.pitch / 2
    for page in pages(family, "shapes", split):
        taken = set()
        for mark in page.marks:
            if not mark.text:
                continue
            cells = [edge * columns for edge in mark.edges]
            assert cells == pytest.approx([round(cells[0]) + place for place in range(len(mark.edges))])
            line = int((mark.box[1] + mark.box[3]) / 2 * lines)
            assert line - 0.15 <= mark.box[1] * lines <= mark.box[3] * lines <= line + 1.15
            for place in range(len(mark.text)):
                cell = (line, round(cells[0]) + place)
                assert cell not in taken, (mark.text, cell)
                taken.add(cell)


@pytest.mark.parametrize("split", ["train", "shifted"])
def test_names_below_an_axis_are_typed_with_a_blank_between_them(split):
    columns, found = STYLES["shapes"].side / STYLES["shapes"].pitch, 0
    for page in (draw_page("chart_page", split, 5, index, STYLES["shapes"]) for index in range(200)):
        names = [mark for mark in page.marks if mark.text and mark.text == mark.column]
        for left, right in product(names, names):
            if left.box[1] < right.box[3] and right.box[1] < left.box[3] and left.edges[0] < right.edges[0]:
                found += 1
                assert round((right.edges[0] - left.edges[-1]) * columns) >= 1, (left.text, right.text)
    assert found > 10


def test_a_typed_sheet_keeps_print_inside_and_has_one_size():
    sheet = RasterSheet(np.random.default_rng(1), STYLES["shapes"], pitch=7)
    face = sheet.face(30)
    assert face is sheet.face()
    assert face.size == 13
    assert face.width("Wij") == 21
    for letter in "WM@ij":
        glyph = face.glyphs[letter]
        assert glyph.mask.width <= 7
        assert glyph.left == (7 - glyph.mask.width) // 2
    for x, y in ((-40, -40), (500, 500)):
        x0, y0, x1, y1 = sheet.text(x, y, "Wages", face)
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
    assert [sheet.base_line(y) for y in (10, 16, 18, 24)] == [10, 10, 24, 24]
