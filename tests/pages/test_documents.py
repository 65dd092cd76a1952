"""Freely printed documents: every answer is read again off the page's own marks."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from llava.pages import STYLES, Box, Mark, Page, PageQuestion, draw_page
from llava.pages.documents.document import ABSENT
from llava.pages.looks import SHIFTED_LOOK, TRAIN_LOOK
from llava.pages.theme import Looks
from tests.print_helpers import bundled_faces

TOTALS = {"Total", "Sum", "TOTAL", "Grand total", "Totals"}
STYLE = replace(STYLES["print_small"], looks=Looks(side=331, sizes=(8.0, 11.0)), num_questions=9)
STYLE = replace(STYLE, free_wordings=0, slips=0)
ASKED = {"field", "fact", "cell", "row_with", "total", "below", "most", "rows", "describe"}


@cache
def asked() -> dict[str, list[tuple[Page, PageQuestion]]]:
    """Questions of many pages by their kinds; those about what is not there as ``absent``."""
    found = defaultdict(list)
    with bundled_faces():
        for split in ("train", "shifted"):
            for number in range(45):
                page = draw_page("doc_page", split, 11, number, STYLE)
                for question in page.questions:
                    found["absent" if question.answer == ABSENT else question.kind].append((page, question))
    return found


def of_kind(kind: str) -> Iterator[tuple[Page, PageQuestion, dict[str, str]]]:
    """With what stands in the gaps of the wording."""
    cases = asked()[kind]
    assert len(cases) > 5, kind
    for page, question in cases:
        for template in (*TRAIN_LOOK.wordings[question.kind], *SHIFTED_LOOK.wordings[question.kind]):
            parts = [re.escape(text) or f"(?P<{name}>.+)" for text, name in re.findall(r"([^{]+)|\{(\w+)\}", template)]
            if match := re.fullmatch("".join(parts), question.question, re.IGNORECASE):
                yield page, question, match.groupdict()
                break
        else:
            raise AssertionError(question.question)


def mark_at(page: Page, box: Box) -> Mark:
    (mark,) = [mark for mark in page.marks if mark.box == box and mark.text]
    return mark


def answer_of(page: Page, question: PageQuestion) -> Mark:
    (box,) = question.answer_boxes
    mark = mark_at(page, box)
    assert mark.text == question.answer
    return mark


def number_of(mark: Mark) -> float:
    return float(re.sub(r"[^0-9.]", "", mark.text))


def body(page: Page, column: str | None) -> list[Mark]:
    """The entries of a column, without its head and what is under its last rule."""
    return [mark for mark in page.marks if mark.column == column and not mark.label and mark.row not in TOTALS]


def middle(mark: Mark) -> float:
    return (mark.box[1] + mark.box[3]) / 2


def rows_of(page: Page) -> list[Mark]:
    """The names of a table's rows, from its top: labels whose row has entries in a column."""
    named = {mark.row for mark in page.marks if mark.column is not None and not mark.label} - TOTALS
    rows = [mark for mark in page.marks if mark.label and mark.column is None and mark.row in named]
    return sorted(rows, key=middle)


def test_all_kinds_are_asked():
    assert {*asked()} == ASKED | {"absent"}


@pytest.mark.parametrize("kind", ["field", "fact"])
def test_values_of_fields_and_facts_stand_at_their_boxes_and_their_names_are_printed(kind):
    for page, question, parts in of_kind(kind):
        value = answer_of(page, question)
        (name,) = (mark_at(page, box) for box in question.evidence)
        assert parts["field"].lower() in name.text.lower()
        assert name.label
        assert name.row is not None
        assert value.row is not None
        assert name.row.lower() == value.row.lower() == parts["field"].lower()
        same = [mark for mark in page.marks if mark.label and (mark.row or "").lower() == name.row.lower()]
        assert same == [name]


def test_cells_stand_in_their_row_and_their_column():
    for page, question, parts in of_kind("cell"):
        cell = answer_of(page, question)
        row, head = (mark_at(page, box) for box in question.evidence)
        assert (cell.row, cell.column) == (row.row, head.column)
        assert middle(cell) == pytest.approx(middle(row), abs=0.02)
        assert head.box[3] < cell.box[1]
        assert {parts["row"].lower(), parts["column"].lower()} == {row.text.lower(), head.text.lower()}


def test_rows_with_a_value_are_the_only_ones_that_have_it():
    for page, question, parts in of_kind("row_with"):
        row = answer_of(page, question)
        head, cell = (mark_at(page, box) for box in question.evidence)
        holders = [mark for mark in body(page, head.column) if mark.text == cell.text]
        assert holders == [cell]
        assert cell.row == row.row
        assert cell.text.lower() in question.question.lower()
        assert head.text.lower() in question.question.lower()
        assert parts["value"]


def test_totals_are_the_sums_of_their_columns():
    for page, question, parts in of_kind("total"):
        total = answer_of(page, question)
        (head,) = (mark_at(page, box) for box in question.evidence)
        assert total.row in TOTALS
        assert total.column == head.column
        assert parts["column"].lower() == head.text.lower()
        entries = body(page, head.column)
        assert len(entries) >= 3
        assert number_of(total) == pytest.approx(sum(map(number_of, entries)), abs=0.005)
        assert all(entry.box[3] < total.box[1] for entry in entries)


def test_the_most_is_the_largest_of_its_column_and_the_only_one():
    for page, question, _ in of_kind("most"):
        row = answer_of(page, question)
        head, cell = (mark_at(page, box) for box in question.evidence)
        numbers = {mark.row: number_of(mark) for mark in body(page, head.column)}
        assert max(numbers, key=numbers.__getitem__) == row.row == cell.row
        assert [*numbers.values()].count(number_of(cell)) == 1


def test_what_comes_after_a_row_is_the_next_one_down():
    for page, question, parts in of_kind("below"):
        below = answer_of(page, question)
        (above,) = (mark_at(page, box) for box in question.evidence)
        rows = rows_of(page)
        assert rows[rows.index(above) + 1] == below
        assert parts["row"].lower() == above.text.lower()


def test_rows_are_counted_without_heads_and_sums():
    for page, question, _ in of_kind("rows"):
        rows = rows_of(page)
        assert question.answer == str(len(rows))
        assert {*question.answer_boxes} == {row.box for row in rows}
        assert question.evidence == ()


def test_what_is_said_to_be_absent_is_nowhere_a_label():
    for page, question, parts in of_kind("absent"):
        assert question.answer_boxes == question.evidence == ()
        labels = [mark.text.lower() for mark in page.marks if mark.label]
        assert all(parts["field"].lower() not in label for label in labels)


def test_descriptions_name_the_kind_of_page():
    captions = {question.answer for _, question, _ in of_kind("describe")}
    assert captions <= {
        "a form", "an invoice", "a receipt", "a letter", "a price list", "a timetable", "a table", "a report"
    }  # fmt: skip
    assert len(captions) > 4
