"""Pages of real tables: the same everywhere, boxes that hold ink, and nothing asked where print collides."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.benchmarks.wild import WILD, charts, plans
from llava.eval.benchmarks.wild.docs import draw_records, prose
from llava.eval.benchmarks.wild.tables import Records, local_data, read_rows, real_records
from llava.pages import (
    COLORS,
    DETAILS,
    SHAPES,
    SPLITS,
    STYLES,
    Page,
    PageStream,
    draw_page,
)
from llava.pages.blocks import RasterFrame
from llava.pages.characters import CHARACTERS
from llava.pages.glyphs import load_face
from llava.pages.looks import SHIFTED_LOOK, font_path
from llava.pages.sheet import RasterSheet
from llava.pages.stream import page_generator
from llava.pages.style import PageStyle
from tests.pages_helpers import mark_at, parts_of
from tests.wild_helpers import PAGES, asked, overlap, wild

CHART_KINDS = {
    "chart_value",
    "chart_largest",
    "chart_smallest",
    "chart_difference",
    "chart_color",
    "chart_by_color",
    "describe",
}
DOC_KINDS = {"field", "date", "cell", "row_with", "total", "describe"}

DIGEST = """
import hashlib, sys
from llava.eval.benchmarks.wild import WILD
from llava.pages import STYLES, draw_page
for family in ("chart_page", "doc_page"):
    page = draw_page(family, "wild", 3, 1, STYLES["shapes"], drawers=WILD)
    print(hashlib.sha256(page.image.tobytes() + repr((page.questions, page.marks)).encode()).hexdigest())
print("matplotlib.pyplot" in sys.modules)
"""


def test_another_process_draws_the_same_pages_and_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    drawn = [draw_page(family, "wild", 3, 1, STYLES["shapes"], drawers=WILD) for family in WILD]
    assert dict(matplotlib.rcParams) == before
    told = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout.split()
    facts = [page.image.tobytes() + repr((page.questions, page.marks)).encode() for page in drawn]
    assert told == [*(hashlib.sha256(fact).hexdigest() for fact in facts), "False"]


def test_print_is_in_fonts_that_training_never_saw(monkeypatch):
    used: set[str] = set()
    for module in ("llava.pages.sheet", "llava.eval.benchmarks.wild.plans"):
        monkeypatch.setattr(f"{module}.font_path", lambda name: used.add(name) or font_path(name))
    for family in WILD:
        for index in range(6):
            draw_page(family, "wild", 5, index, STYLES["shapes"], drawers=WILD)
    assert used == set(SHIFTED_LOOK.fonts)


def test_the_settings_of_a_user_do_not_reach_a_page():
    with matplotlib.rc_context({"axes.titlepad": 40, "xtick.major.pad": 20, "font.size": 30}):
        again = [draw_page("chart_page", "wild", 3, index, STYLES["shapes"], drawers=WILD) for index in range(5)]
    drawn = wild("chart_page", "shapes")[:5]
    assert [page.image.tobytes() for page in again] == [page.image.tobytes() for page in drawn]


def is_clear(page: Page) -> bool:
    texts = [mark for mark in page.marks if mark.text]
    pairs = combinations(texts, 2)
    collide = any(min(overlap(first, second, 0), overlap(first, second, 1)) > 1e-9 for first, second in pairs)
    return not collide and all(min(mark.box) >= 0 and max(mark.box) <= 1 for mark in page.marks)


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_a_chart_whose_print_collides_is_asked_nothing_about(monkeypatch):
    def plan_wide(rng: np.random.Generator, style: PageStyle) -> plans.Plan:
        plan = plans.plan_chart(rng, style)
        return replace(plan, face=load_face(plan.font, 2 * plan.face.size))

    assert all(is_clear(page) for key in PAGES if key[0] == "chart_page" for page in wild(*key))
    monkeypatch.setattr(charts, "plan_chart", plan_wide)
    style = STYLES["large_print"].for_split("wild")
    drawn = [charts.draw(np.random.default_rng(seed), style) for seed in range(8)]
    assert not any(is_clear(page) for page in drawn)
    assert not any(page.questions for page in drawn)


def test_sums_are_left_out_where_one_is_also_a_cell():
    def drawn(cells: list[str]) -> list[int]:
        rows = {label: (cell, "5") for label, cell in zip("ABC", cells, strict=True)}
        records = Records(title="T", label="L", columns=("One", "Two"), rows=rows, summed=True)
        sheet = RasterSheet(np.random.default_rng(1), STYLES["full"])
        frame = RasterFrame(sheet=sheet, rng=np.random.default_rng(1), left=5, top=5, right=600, bottom=600)
        table = draw_records(frame, records)
        assert [[cell.words for cell in row] for row in table.cells] == [list(row) for row in rows.values()]
        return [int(total.words) for total in table.totals.values()]

    assert drawn(["3", "4", "0"]) == [7, 15]
    assert drawn(["3", "0", "0"]) == []


@pytest.mark.parametrize(("family", "style"), PAGES)
def test_marks_and_boxes_lie_on_the_page_and_hold_ink(family, style):
    for page in wild(family, style):
        side = STYLES[style].side
        pixels = np.asarray(page.image).astype(int)
        assert pixels.shape == (side, side, 3)
        boxes = {mark.box for mark in page.marks}
        for mark in page.marks:
            x0, y0, x1, y1 = mark.box
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert bool(mark.text) != bool(mark.shape)
            assert mark.color in COLORS
            assert not mark.shape or mark.shape in SHAPES
            assert set(mark.text) <= {*CHARACTERS, " "}
            assert not mark.text or len(mark.edges) == len(mark.text) + 1
            left, top, right, bottom = (round(value * side) for value in mark.box)
            # A bar is flat; what stands out is its border.
            around = 0 if mark.text else 2
            crop = pixels[max(0, top - around) : bottom + around + 1, max(0, left - around) : right + around + 1]
            assert np.ptp(crop.reshape(-1, 3), axis=0).max() > 40, mark
        for question in page.questions:
            assert question.answer_boxes or question.kind == "describe"
            assert {*question.answer_boxes, *question.evidence} <= boxes


@pytest.mark.parametrize("family", WILD)
def test_evidence_is_what_a_question_names(family):
    for page, question in asked(family):
        said = question.question.lower()
        for box in question.evidence:
            mark = mark_at(page, box)
            assert (mark.text.rstrip(":.").lower() or mark.color) in said, question
        if question.kind in ("chart_largest", "chart_smallest"):
            assert len(question.evidence) == bool(re.search(r" (in|for) ", question.question))
            continue
        parts = parts_of(question)
        named = [parts[gap] for gap in ("row", "column", "field", "value", "color", "name") if gap in parts]
        named += [word for gap in ("entry", "other") for word in parts.get(gap, "").split(" in ") if word]
        marks = [mark_at(page, box) for box in question.evidence]
        shown = {words for mark in marks for words in (mark.text.rstrip(":.").lower(), mark.color)}
        assert {name.lower() for name in named} <= shown, question


def test_all_kinds_appear_and_answers_vary():
    for family, style, kinds in (("chart_page", "large_print", CHART_KINDS), ("doc_page", "full", DOC_KINDS)):
        questions = [question for page in wild(family, style) for question in page.questions]
        assert {question.kind for question in questions} == kinds
        assert max(Counter(question.answer for question in questions).values()) < 0.15 * len(questions)
        for question in questions:
            templates = SHIFTED_LOOK.wordings[question.kind]
            assert any(question.question.startswith(template.split("{")[0]) for template in templates)
    shapes = {mark.shape for page in wild("chart_page", "large_print") for mark in page.marks}
    assert {"bar", "point", "wedge", "swatch"} <= shapes


def test_no_cell_is_empty_and_counts_add_up():
    for records in real_records():
        assert len(records.rows) >= 3
        assert set(records.charted) <= set(records.columns)
        for label, cells in records.rows.items():
            assert label.strip()
            assert all(cells)
            assert len(cells) == len(records.columns)
    for year in ("2012", "2013", "2014", "2015"):
        (days,) = [records for records in real_records() if records.title == f"Days of weather {year}"]
        assert sum(int(cell) for cells in days.rows.values() for cell in cells) == 366 - (year != "2012")
    assert read_rows("cars")[10]["Name"] == "citroen ds-21 pallas"
    assert read_rows("cars")[10]["Miles_per_Gallon"] == ""
    with pytest.raises(ValueError, match="ships no 'movies'"):
        read_rows("movies")


def test_prose_is_clean_and_leaves_the_dead_alone():
    text = " ".join(" ".join(paragraph.split()) for paragraph in prose())
    assert len(text) > 4000
    assert "Beautiful is better than ugly." in text
    assert not {"]_", "`"} & {text[place : place + size] for size in (1, 2) for place in range(len(text))}
    assert "lost their lives" not in text


@settings(max_examples=8, deadline=None)
@given(side=st.sampled_from([168, 224, 336, 504]), size=st.integers(10, 18), seed=st.integers(0, 2**32))
def test_any_size_of_page_and_print_can_be_drawn(side, size, seed):
    style = PageStyle(name="any", side=side, print_size=(size, size), panels=1)
    for family in WILD:
        page = draw_page(family, "wild", seed, 0, style, drawers=WILD)
        assert page.image.size == (side, side)
        assert page.questions


def test_entity_grids_and_a_missing_package_are_refused(monkeypatch):
    for call in (draw_page, PageStream):
        with pytest.raises(ValueError, match="entity_grid has no wild pages; chart_page and doc_page have"):
            call("entity_grid", "wild", 0, 0, drawers=WILD)
        with pytest.raises(ValueError, match="pass those of llava"):
            call("doc_page", "wild", 0, 0)
    with pytest.raises(ValueError, match="entitygrid has no split 'wild'"):
        find_benchmark("entitygrid").check(split="wild", style="shapes")
    monkeypatch.setitem(sys.modules, "vega_datasets", None)
    with pytest.raises(ValueError, match=r"vega_datasets; pip install 'lavida-shirg\[eval\]'"):
        local_data()


GENERATORS = {
    "entity_grid": ("a961b274", "9355e09d", "6bbdd560", "d1a484a4"),
    "chart_page": ("f2c8b0f8", "98dad7d5", "c62174d5", "0b090a93"),
    "doc_page": ("1f40254a", "555c31ff", "5dfda456", "a7836b17"),
}


def test_pages_of_other_splits_are_as_they_were_before_there_were_wild_ones():
    assert SPLITS[-1] == "wild"
    for family, numbers in GENERATORS.items():
        assert tuple(page_generator(family, split, 0, 0).bytes(4).hex() for split in SPLITS[:4]) == numbers
    style = replace(STYLES["shapes"], kinds=DETAILS)
    asked = [draw_page(family, "shifted", 0, 0, style).questions[0].question for family in GENERATORS]
    assert asked == ["Find the brown star: row and column?", "Hydro is shown in which color?", "Read off the origin."]


@pytest.mark.parametrize("name", ["chartpage", "docpage"])
def test_benchmarks_offer_the_split(name):
    benchmark = find_benchmark(name)
    assert benchmark.splits[0] == "test"
    samples = list(benchmark.samples(split="wild", style="shapes", questions=5))
    first = draw_page(samples[0].id.split("-")[0], "wild", 0, 0, replace(STYLES["shapes"], kinds=DETAILS), drawers=WILD)
    assert len({sample.id for sample in samples}) == 5
    assert samples[0].image.tobytes() == first.image.tobytes()
    assert [sample.question for sample in samples][: len(first.questions)] == [q.question for q in first.questions][:5]
    assert all(sample.evidence for sample in samples)
