"""Every answer, found again from what stands where on the page, without the tables that the page was drawn from."""

import re

import numpy as np
import pytest

from llava.pages import STYLES, Mark, Page, PageQuestion, lexicon
from llava.pages.page import HUES
from tests.pages_helpers import CASES, center, mark_at, pages, parts_of


def nearest(marks: list[Mark], *, x: float | None = None, y: float | None = None) -> Mark:
    """The mark whose center is nearest, along the given axes."""
    return min(
        marks,
        key=lambda mark: (
            (0 if x is None else (center(mark.box)[0] - x) ** 2) + (0 if y is None else (center(mark.box)[1] - y) ** 2)
        ),
    )


class GridReader:
    """Reads an entity grid by position: labels by their gray print, entities and codes by their nearest labels."""

    def __init__(self, page: Page) -> None:
        self.labels = [mark for mark in page.marks if mark.color == "gray"]
        self.codes = [mark for mark in page.marks if len(mark.text) == 3]
        self.entities = [mark for mark in page.marks if mark.color in HUES]
        xs = [round(center(mark.box)[0], 3) for mark in self.labels]
        # Labels of rows stand below each other, so theirs is the x that many share.
        common = max(set(xs), key=lambda x: sum(abs(x - other) < 0.015 for other in xs))
        ys = [round(center(mark.box)[1], 3) for mark in self.labels]
        level = max(set(ys), key=lambda y: sum(abs(y - other) < 0.015 for other in ys))
        self.columns = [mark for mark, y in zip(self.labels, ys, strict=True) if abs(y - level) < 0.015]
        self.rows = [mark for mark in self.labels if mark not in self.columns]
        assert all(abs(center(mark.box)[0] - common) < 0.03 for mark in self.rows)

    def place(self, mark: Mark) -> tuple[str, str]:
        x, y = center(mark.box)
        return nearest(self.rows, y=y).text, nearest(self.columns, x=x).text

    def at(self, row: str, column: str, marks: list[Mark]) -> Mark:
        (found,) = [mark for mark in marks if self.place(mark) == (row, column)]
        return found

    def named(self, words: str) -> Mark:
        """The one mark that the words fit: a code, a figure, or a figure with its color."""
        words = words.removeprefix("the ").replace("letter ", "")
        if re.fullmatch(r"[A-Z]\d\d", words):
            (found,) = [mark for mark in self.codes if mark.text == words]
            return found
        *color, figure = words.split()
        (found,) = [
            mark for mark in self.entities if figure_of(mark) == figure and (not color or mark.color == color[0])
        ]
        return found

    def beside(self, mark: Mark, side: str, marks: list[Mark]) -> Mark:
        row, column = self.place(mark)
        rows, columns = [label.text for label in self.rows], [label.text for label in self.columns]
        down, right = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}[side]
        return self.at(rows[rows.index(row) + down], columns[columns.index(column) + right], marks)


def figure_of(mark: Mark) -> str:
    return mark.shape or mark.text


def described(mark: Mark) -> str:
    return f"{mark.color} {figure_of(mark)}"


def grid_answer(reader: GridReader, question: PageQuestion) -> str:
    kind, parts = question.kind, parts_of(question)
    if kind == "describe":
        shown = [name for name in ("shape", "text") if any(getattr(mark, name) for mark in reader.entities)]
        return f"a grid of {' and '.join({'shape': 'shapes', 'text': 'letters'}[name] for name in shown)}"
    if kind == "color_of":
        return reader.named(parts["name"]).color
    if kind == "figure_of_color":
        (found,) = [mark for mark in reader.entities if mark.color == parts["color"]]
        return figure_of(found)
    if kind in ("count", "count_in_row", "count_in_column"):
        words = parts["things"].split()
        color = words[0] if words[0] in HUES else None
        counted = []
        for mark in reader.entities:
            row, column = reader.place(mark)
            plural = f"{mark.shape}{'es' if mark.shape == 'cross' else 's'}" if mark.shape else mark.text
            if words[-1] not in ("figures", plural) or color not in (None, mark.color):
                continue
            if parts.get("row", row) == row and parts.get("column", column) == column:
                counted.append(mark)
        assert {mark.box for mark in counted} == set(question.answer_boxes)
        return str(len(counted))
    if kind in ("at", "code_at"):
        found = reader.at(parts["row"], parts["column"], reader.codes if kind == "code_at" else reader.entities)
        return found.text if kind == "code_at" else described(found)
    if kind == "beside":
        return described(reader.beside(reader.named(parts["name"]), parts["side"], reader.entities))
    if kind == "code_beside":
        return reader.beside(reader.named(parts["code"]), parts["side"], reader.codes).text
    if kind == "figure_with_code":
        return described(reader.at(*reader.place(reader.named(parts["code"])), reader.entities))
    row, column = reader.place(reader.named(parts["name"]))
    return {"row_of": row, "column_of": column, "where": f"row {row}, column {column}"}[kind]


class ChartReader:
    """Reads the one chart that a question means; a mark belongs to the nearest title above it on its side."""

    def __init__(self, page: Page, where: str) -> None:
        titles = [mark for mark in page.marks if where and mark.text == where.removeprefix(" in the chart ")]
        self.marks = list(page.marks)
        if titles:
            (title,) = titles
            self.marks = [mark for mark in page.marks if self.belongs(mark, title, page)]
        self.shapes = [mark for mark in self.marks if mark.shape in ("bar", "point")]
        self.swatches = [mark for mark in self.marks if mark.shape == "swatch"]
        self.bottom = max((mark.box[3] for mark in self.shapes), default=1)
        # Typed print stands next to its place: half a character off to a side, half a line up or down.
        self.slack = 3.5 / page.image.width if page.image.width < STYLES["full"].side else 0.0

    def belongs(self, mark: Mark, title: Mark, page: Page) -> bool:
        tops = sorted({other.box[1] for other in page.marks if other.text == title.text})
        x, y = center(mark.box)
        same_side = (x < 0.5) == (center(title.box)[0] < 0.5)
        return same_side and 0 <= y - tops[0] < 0.35 and not self.later_title(mark, title, page)

    def later_title(self, mark: Mark, title: Mark, page: Page) -> bool:
        """Another title, taller than other print, stands between the title and the mark."""
        y, own = center(mark.box)[1], center(title.box)
        return any(
            other.text in TITLES
            and own[1] + 0.05 < center(other.box)[1] <= y + 0.01
            and (center(other.box)[0] < 0.5) == (own[0] < 0.5)
            for other in page.marks
        )

    def label(self, words: str) -> Mark:
        (found,) = [mark for mark in self.marks if mark.text == words]
        return found

    def color(self, name: str) -> str:
        """The color beside the name in the legend, or of the bar above it."""
        x, y = center(self.label(name).box)
        if self.swatches and abs(center(nearest(self.swatches, y=y).box)[1] - y) < 0.03:
            left = self.label(name).box[0]
            return min(self.swatches, key=lambda mark: abs(mark.box[2] - left) + 9 * abs(center(mark.box)[1] - y)).color
        return nearest(self.shapes, x=x).color

    def value(self, entry: str) -> str:
        """What is printed for an entry, checked against the height of its bar or point; a share of a pie as printed."""
        series, _, category = entry.rpartition(" in ")
        if not self.shapes:
            name = self.label(entry)
            (printed,) = [mark for mark in self.marks if mark.text.endswith("%") and mark.column == name.text]
            return printed.text
        x = center(self.label(category).box)[0]
        colored = [mark for mark in self.shapes if not series or mark.color == self.color(series)]
        shape = nearest(colored, x=x)
        reached = shape.box[1] if shape.shape == "bar" else center(shape.box)[1]
        printed = [
            mark
            for mark in self.marks
            if mark.text.isdigit()
            and mark.color != "gray"
            and abs(center(mark.box)[0] - center(shape.box)[0]) < 0.012 + self.slack
            and -0.005 - 2 * self.slack < shape.box[1] - mark.box[3] < 0.03 + 2 * self.slack
        ]
        level = self.level(reached)
        if printed:
            printed = [nearest(printed, x=center(shape.box)[0])]
            assert abs(int(printed[0].text) - level) <= (0.04 + 2 * self.slack) * self.top() + 1
            return printed[0].text
        return min(self.ticks(), key=lambda tick: abs(int(tick.text) - level)).text

    def ticks(self) -> list[Mark]:
        """The numbers left of everything that they measure."""
        left = min(mark.box[0] for mark in self.shapes)
        return [
            mark
            for mark in self.marks
            if mark.text.isdigit()
            and mark.color == "gray"
            and mark.box[2] <= left
            and mark.box[1] <= self.bottom + 0.05
        ]

    def top(self) -> int:
        return max(int(tick.text) for tick in self.ticks())

    def level(self, y: float) -> float:
        ticks = sorted(self.ticks(), key=lambda tick: int(tick.text))
        places, numbers = [center(tick.box)[1] for tick in ticks], [int(tick.text) for tick in ticks]
        return float(np.polyval(np.polyfit(places, numbers, 1), y))

    def entries(self) -> list[str]:
        return list(dict.fromkeys(mark.column for mark in self.marks if mark.column is not None))


TITLES = {"Output", "Imports", "Exports", "Visits", "Sales", "Costs", "Rainfall", "Harvest", "Traffic", "Orders"} | {
    "Stock", "Loans", "Repairs",
}  # fmt: skip


def chart_kind(reader: "ChartReader") -> str:
    shapes = {mark.shape for mark in reader.shapes}
    return "pie" if not shapes else "line" if "point" in shapes else "grouped bar" if reader.swatches else "bar"


def listed(parts: list[str]) -> str:
    """The different parts in order, with commas and a last "and"."""
    parts = sorted(set(parts), key=parts.index)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def chart_answer(page: Page, question: PageQuestion) -> str:
    kind, parts = question.kind, parts_of(question)
    if kind == "describe":
        named = [f" in the chart {mark.text}" for mark in page.marks if mark.panel == mark.text]
        readers = [ChartReader(page, where) for where in (named if len(named) > 1 else [""])]
        return listed([f"a {chart_kind(reader)} chart" for reader in readers])
    reader = ChartReader(page, parts["where"])
    if kind == "chart_value":
        return reader.value(parts["entry"])
    if kind == "chart_difference":
        first, second = reader.value(parts["entry"]), reader.value(parts["other"])
        unit = "%" if "%" in first else ""
        return f"{abs(int(first.rstrip('%')) - int(second.rstrip('%')))}{unit}"
    if kind == "chart_color":
        return reader.color(parts["name"])
    names = [mark.text for mark in reader.marks if mark.text in reader.entries() or mark.row == mark.text]
    if kind == "chart_by_color":
        candidates = [name for name in names if reader.color(name) == parts["color"]]
        legend = [name for name in candidates if not reader.swatches or reader.label(name).row or not reader.shapes]
        (found,) = set(legend)
        return found
    fixed = parts["scope"].split()[-1] if parts["scope"] else ""
    if parts["axis"] == "series":
        rivals = {name: f"{name} in {fixed}" for name in names if name not in reader.entries()}
    else:
        rivals = {name: f"{fixed} in {name}" if fixed else name for name in reader.entries()}
    values = {name: int(reader.value(entry).rstrip("%")) for name, entry in rivals.items()}
    best = (max if kind == "chart_largest" else min)(values.values())
    (found,) = [name for name, value in values.items() if value == best]
    return found


def doc_parts(page: Page) -> list[str]:
    """What each mark is part of, told by its words, its color and its labels."""
    found = []
    for mark in page.marks:
        if mark.color == "gray":
            found.append("a form")
        elif mark.text.startswith(lexicon.TITLES):
            found.append("a title")
        elif mark.column:
            found.append("a table")
        elif not mark.row:
            found.append("text")
    return found


def doc_answer(page: Page, question: PageQuestion) -> str:
    kind, parts = question.kind, parts_of(question)
    if kind == "describe":
        return listed(doc_parts(page))
    if kind in ("field", "date"):
        (label,) = [
            m for m in page.marks if m.color == "gray" and m.text.rstrip(":.").lower() == parts["field"].lower()
        ]
        right = [m for m in page.marks if m.color == "black" and m.box[0] >= label.box[2] and overlap(m, label) > 0.3]
        if right:
            return min(right, key=lambda m: m.box[0]).text
        below = [m for m in page.marks if m.edges[0] == label.edges[0] and m.box[1] >= label.box[3]]
        return min(below, key=lambda m: m.box[1]).text
    if kind == "fact":
        (index,) = [i for i, mark in enumerate(page.marks) if mark.text == parts["field"]]
        assert [page.marks[index - 1].text, page.marks[index + 1].text] == ["The", "is"]
        return page.marks[index + 2].text
    (head,) = [mark for mark in page.marks if mark.text == parts["column"] and mark.row is None]
    column = [mark for mark in page.marks if mark.row and mark.column and aligned(mark, head)]
    labels = [mark for mark in page.marks if mark.row and not mark.column and mark.row == mark.text]
    if kind == "cell":
        (label,) = [mark for mark in labels if mark.text == parts["row"]]
        return nearest(column, y=center(label.box)[1]).text
    if kind == "row_with":
        (cell,) = [mark for mark in column if mark.text == parts["value"]]
        return nearest(labels, y=center(cell.box)[1]).text
    *cells, total = sorted(column, key=lambda mark: mark.box[1])
    assert nearest(labels, y=center(total.box)[1]).text == "Total"
    amounts = [round(100 * float(cell.text)) for cell in cells]
    assert len(cells) == len(labels) - 1
    return f"{sum(amounts) / 100:,.2f}" if "." in cells[0].text else str(sum(amounts) // 100)


def overlap(first: Mark, second: Mark) -> float:
    """The share of the lower mark's height that both have in common."""
    common = min(first.box[3], second.box[3]) - max(first.box[1], second.box[1])
    return common / min(first.box[3] - first.box[1], second.box[3] - second.box[1])


def aligned(cell: Mark, head: Mark) -> bool:
    """Cells stand flush with their heads, on one side or the other."""
    below = cell.box[1] > head.box[1]
    return below and min(abs(cell.edges[0] - head.edges[0]), abs(cell.edges[-1] - head.edges[-1])) < 1e-6


@pytest.mark.parametrize(("style", "split"), CASES)
def test_grid_answers(style, split):
    for page in pages("entity_grid", style, split):
        reader = GridReader(page)
        assert not {mark.text for mark in reader.labels} & {mark.text for mark in reader.entities}
        for question in page.questions:
            assert grid_answer(reader, question) == question.answer, question


@pytest.mark.parametrize(("style", "split"), CASES)
def test_chart_answers(style, split):
    for page in pages("chart_page", style, split):
        for question in page.questions:
            assert chart_answer(page, question) == question.answer, question


@pytest.mark.parametrize(("style", "split"), CASES)
def test_document_answers(style, split):
    for page in pages("doc_page", style, split):
        for question in page.questions:
            assert doc_answer(page, question) == question.answer, question


@pytest.mark.parametrize(("style", "split"), CASES)
@pytest.mark.parametrize("family", ["entity_grid", "chart_page", "doc_page"])
def test_an_answer_in_print_is_printed_in_its_box(family, style, split):
    for page in pages(family, style, split):
        for question in page.questions:
            if len(question.answer_boxes) == 1:
                mark = mark_at(page, question.answer_boxes[0])
                assert question.answer in (mark.text, mark.shape, mark.color, described(mark), "1"), question
