"""EntityGridQA: colored figures, letters and codes on a grid whose rows and columns are labeled."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from llava.pages.asking import Asker
from llava.pages.chance import between, happens, pick, sample
from llava.pages.page import FIGURES, HUES, Box, Page, PageQuestion, plural
from llava.pages.print_sheet import open_sheet
from llava.pages.sheet import Sheet
from llava.pages.style import PageStyle

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STEPS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
_FREE_LAYOUTS = tuple(
    f"{ground} {corner}"
    for ground in ("ruled", "tiles", "open", "rows", "columns", "framed")
    for corner in ("top-left", "top-right")
)
"""Of freely printed grids in the look of training: what lies under the entities, and where the labels stand."""
_MOST_TO_COUNT = 9
_MOST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entity:
    figure: str
    color: str
    code: str
    box: Box
    code_box: Box | None

    @property
    def noun(self) -> str:
        return self.figure if self.figure in FIGURES else f"letter {self.figure}"

    @property
    def answer(self) -> str:
        return f"{self.color} {self.figure}"


def draw(rng: np.random.Generator, style: PageStyle) -> Page:
    """A page with a grid of entities; its questions are empty if an allowed kind has no single answer on it.

    With ``style.codes`` every entity has a printed code of its own; with ``style.filled`` the grid fills the page.
    """
    sheet = open_sheet(rng, style)
    grid = _Grid(rng, style, sheet)
    return sheet.finish(grid.questions())


class _Grid:
    def __init__(self, rng: np.random.Generator, style: PageStyle, sheet: Sheet) -> None:
        self.rng, self.style, self.sheet, self.asker = rng, style, sheet, Asker(rng, style)
        free = style.looks is not None and not style.looks.held_out
        ground, corner = pick(rng, _FREE_LAYOUTS if free else style.look.grid_layouts).split()
        label = sheet.face()
        strip = round(label.size + 6)
        cell = between(rng, *style.cell)
        if style.looks is not None:
            cell = round(label.size * rng.uniform(3.0, 5.5))
        most = min(_MOST_LINES, (min(sheet.width, sheet.height) - strip) // cell)
        fewest = most - 1 if style.filled and style.looks is None else min(2, most)
        num_rows, num_columns = between(rng, fewest, most), between(rng, fewest, most)
        numbers, letters = [str(number + 1) for number in range(most)], list(_LETTERS[:most])
        rows_numbered = happens(rng, 0.5)
        self.rows = (numbers if rows_numbered else letters)[:num_rows]
        self.columns = (letters if rows_numbered else numbers)[:num_columns]
        self.left = strip if "left" in corner else 0
        self.top = strip if "top" in corner else 0
        slack = sheet.width - strip - cell * num_columns, sheet.height - strip - cell * num_rows
        self.left += between(rng, 0, slack[0])
        self.top += between(rng, 0, slack[1])
        self.cell = cell
        self._draw_ground(ground)
        self.row_boxes, self.column_boxes = self._draw_labels(corner, strip)
        self.entities = self._draw_entities([letter for letter in _LETTERS if letter not in letters])
        self.figures = Counter(entity.figure for entity in self.entities.values())
        self.colors = Counter(entity.color for entity in self.entities.values())
        self.kinds = Counter(entity.answer for entity in self.entities.values())

    def _draw_ground(self, ground: str) -> None:
        sheet, cell = self.sheet, self.cell
        right, bottom = self.left + cell * len(self.columns), self.top + cell * len(self.rows)
        for row in range(len(self.rows)):
            for column in range(len(self.columns)):
                x, y = self.left + cell * column, self.top + cell * row
                if ground == "tiles":
                    sheet.fill(x + 1, y + 1, x + cell - 1, y + cell - 1, sheet.palette.tint)
                elif ground == "checker" and (row + column) % 2:
                    sheet.fill(x, y, x + cell, y + cell, sheet.palette.tint)
                elif ground == "dotted":
                    sheet.fill(x - 1, y - 1, x + 1, y + 1, sheet.palette.rule)
        for row in range(len(self.rows) + 1):
            at_edge = row in (0, len(self.rows))
            if ground in ("ruled", "rows") or (ground == "framed" and at_edge):
                y = min(self.top + cell * row, sheet.height - 1)
                sheet.line([(self.left, y), (right, y)], sheet.palette.rule)
        for column in range(len(self.columns) + 1):
            at_edge = column in (0, len(self.columns))
            if ground in ("ruled", "columns") or (ground == "framed" and at_edge):
                x = min(self.left + cell * column, sheet.width - 1)
                sheet.line([(x, self.top), (x, bottom)], sheet.palette.rule)

    def _draw_labels(self, corner: str, strip: int) -> tuple[list[Box], list[Box]]:
        sheet, cell, face = self.sheet, self.cell, self.sheet.face()
        rise = face.cap_height / 2
        y = self.top - strip / 2 if "top" in corner else self.top + cell * len(self.rows) + strip / 2
        x = self.left - strip / 2 if "left" in corner else self.left + cell * len(self.columns) + strip / 2
        columns = [
            sheet.text(self.left + cell * (index + 0.5), y + rise, label, face, "gray", align=0.5, column=label)
            for index, label in enumerate(self.columns)
        ]
        rows = [
            sheet.text(x, self.top + cell * (index + 0.5) + rise, label, face, "gray", align=0.5, row=label)
            for index, label in enumerate(self.rows)
        ]
        return rows, columns

    def _draw_entities(self, letters: list[str]) -> dict[tuple[int, int], _Entity]:
        rng, cell = self.rng, self.cell
        places = [(row, column) for row in range(len(self.rows)) for column in range(len(self.columns))]
        share = 0.93 if self.style.filled else rng.uniform(0.5, 1)
        places = sorted(sample(rng, places, max(2, round(share * len(places)))))
        with_letters = pick(rng, (0.0, 0.3, 1.0)) if not self.style.codes else 0.2
        pool = FIGURES if with_letters == 0 else letters if with_letters == 1 else (*FIGURES, *sample(rng, letters, 3))
        figures, hues = rng.integers(len(pool), size=len(places)), rng.integers(len(HUES), size=len(places))
        codes = rng.permutation(26 * 90)[: len(places)] if self.style.codes else [0] * len(places)
        size = round(cell * (0.42 if self.style.codes else rng.uniform(0.62, 0.78)))
        entities = {}
        for (row, column), figure, hue, code in zip(places, figures, hues, codes, strict=True):
            x, y = self.left + cell * (column + 0.5), self.top + cell * (row + 0.5)
            words = f"{_LETTERS[code // 90]}{10 + code % 90}" if self.style.codes else ""
            entities[row, column] = self._draw_entity(x, y, size, pool[figure], HUES[hue], words, row, column)
        return entities

    def _draw_entity(
        self, x: float, y: float, size: int, figure: str, color: str, code: str, row: int, column: int
    ) -> _Entity:
        sheet, row_label, column_label = self.sheet, self.rows[row], self.columns[column]
        code_box = None
        if code:
            small = sheet.face(min(sheet.print_size, int(self.cell * 0.32)))
            code_box = sheet.text(x, y + self.cell / 2 - 4, code, small, align=0.5, row=row_label, column=column_label)
            y = y - small.cap_height / 2 - 2
        if figure in FIGURES:
            box = sheet.figure(x, y, size, figure, color, row=row_label, column=column_label)
        else:
            face = sheet.face(round(size * 1.15))
            box = sheet.text(
                x, y + face.cap_height / 2, figure, face, color, align=0.5, row=row_label, column=column_label
            )
        return _Entity(figure=figure, color=color, code=code, box=box, code_box=code_box)

    def questions(self) -> tuple[PageQuestion, ...]:
        makers = {
            "color_of": self._ask_color,
            "figure_of_color": self._ask_figure,
            "count": self._ask_count,
            "count_in_row": self._ask_count_in_line,
            "count_in_column": self._ask_count_in_line,
            "at": self._ask_at,
            "beside": self._ask_beside,
            "row_of": self._ask_where,
            "column_of": self._ask_where,
            "where": self._ask_where,
            "describe": self._describe,
        }
        if self.style.codes:
            makers |= {"code_at": self._ask_at, "code_beside": self._ask_beside, "figure_with_code": self._ask_figure}
        return self.asker.collect(makers)

    def _describe(self, kind: str) -> PageQuestion:
        shapes = [figure for figure in self.figures if figure in FIGURES]
        shown = "letters" if not shapes else "shapes" if len(shapes) == len(self.figures) else "shapes and letters"
        return self.asker.describe(kind, [f"a grid of {shown}"])

    def _any(self) -> tuple[tuple[int, int], _Entity]:
        return pick(self.rng, list(self.entities.items()))

    def _unique(self, by: Counter[str], key: str) -> tuple[tuple[int, int], _Entity] | None:
        """An entity whose attribute ``key`` no other has, which makes it nameable."""
        alone = [item for item in self.entities.items() if by[getattr(item[1], key)] == 1]
        return pick(self.rng, alone) if alone else None

    def _ask_color(self, kind: str) -> PageQuestion | None:
        found = self._unique(self.figures, "figure")
        if found is None:
            return None
        entity = found[1]
        return self.asker.ask(kind, entity.color, [entity.box], [entity.box], name=entity.noun)

    def _ask_figure(self, kind: str) -> PageQuestion | None:
        if kind == "figure_with_code":
            entity = self._any()[1]
            return self.asker.ask(kind, entity.answer, [entity.box], _some(entity.code_box), code=entity.code)
        found = self._unique(self.colors, "color")
        if found is None:
            return None
        entity = found[1]
        return self.asker.ask(kind, entity.figure, [entity.box], [entity.box], color=entity.color)

    def _ask_count(self, kind: str) -> PageQuestion | None:
        return self._count(kind, list(self.entities.values()))

    def _ask_count_in_line(self, kind: str) -> PageQuestion | None:
        in_row = kind == "count_in_row"
        labels, boxes = (self.rows, self.row_boxes) if in_row else (self.columns, self.column_boxes)
        line = int(self.rng.integers(len(labels)))
        inside = [entity for place, entity in self.entities.items() if place[0 if in_row else 1] == line]
        return self._count(kind, inside, [boxes[line]], **{"row" if in_row else "column": labels[line]})

    def _count(
        self, kind: str, inside: list[_Entity], evidence: list[Box] | None = None, **line: str
    ) -> PageQuestion | None:
        if not inside:
            return None
        by = pick(self.rng, ("figure", "color", "answer"))
        groups = [
            [other for other in inside if getattr(other, by) == getattr(entity, by)]
            for entity in (pick(self.rng, inside), pick(self.rng, inside))
        ]
        alike = max(groups, key=len)  # else nearly every answer on a small page would be 1
        if len(alike) > _MOST_TO_COUNT:
            return None
        entity = alike[0]
        color = "" if by == "figure" else f"{entity.color} "
        named = plural(entity.figure) if entity.figure in FIGURES else f"letters {entity.figure}"
        things = color + ("figures" if by == "color" else named)
        boxes = [other.box for other in alike]
        return self.asker.ask(kind, str(len(alike)), boxes, evidence or [], things=things, **line)

    def _ask_at(self, kind: str) -> PageQuestion:
        (row, column), entity = self._any()
        is_code = kind == "code_at"
        answer, box = (entity.code, _some(entity.code_box)) if is_code else (entity.answer, [entity.box])
        labels = {"row": self.rows[row], "column": self.columns[column]}
        return self.asker.ask(kind, answer, box, [self.row_boxes[row], self.column_boxes[column]], **labels)

    def _ask_beside(self, kind: str) -> PageQuestion | None:
        is_code = kind == "code_beside"
        found = self._any() if is_code else self._unique(self.kinds, "answer")
        if found is None:
            return None
        (row, column), entity = found
        side = pick(self.rng, list(_STEPS))
        neighbor = self.entities.get((row + _STEPS[side][0], column + _STEPS[side][1]))
        if neighbor is None:
            return None
        if is_code:
            boxes, evidence = _some(neighbor.code_box), _some(entity.code_box)
            return self.asker.ask(kind, neighbor.code, boxes, evidence, side=side, code=entity.code)
        name = f"{entity.color} {entity.noun}"
        return self.asker.ask(kind, neighbor.answer, [neighbor.box], [entity.box], side=side, name=name)

    def _ask_where(self, kind: str) -> PageQuestion | None:
        found = self._any() if self.style.codes else self._unique(self.kinds, "answer")
        if found is None:
            return None
        (row, column), entity = found
        name = entity.code or f"the {entity.color} {entity.noun}"
        named = _some(entity.code_box) or [entity.box]
        answers = {
            "row_of": (self.rows[row], [self.row_boxes[row]]),
            "column_of": (self.columns[column], [self.column_boxes[column]]),
            "where": (
                f"row {self.rows[row]}, column {self.columns[column]}",
                [self.row_boxes[row], self.column_boxes[column]],
            ),
        }
        return self.asker.ask(kind, *answers[kind], named, name=name)


def _some(box: Box | None) -> list[Box]:
    return [] if box is None else [box]
