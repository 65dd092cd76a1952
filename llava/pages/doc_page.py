"""DocPageQA: forms, invoices, tables and running text."""

from collections import Counter

import numpy as np

from llava.pages import lexicon
from llava.pages.asking import Asker
from llava.pages.blocks import RasterEntry, RasterFrame, RasterTable, draw_form, draw_table, draw_text, draw_title
from llava.pages.chance import between, pick
from llava.pages.documents.document import draw_document
from llava.pages.page import Page, PageQuestion
from llava.pages.sheet import RasterSheet
from llava.pages.style import PageStyle

_CAPTIONS = {"title": "a title", "form": "a form", "stack": "a form", "table": "a table", "zebra": "a table"}
_CAPTIONS["text"] = "text"
_FEW_LINES = 26
_FEW_TYPED_LINES = 18


def draw(rng: np.random.Generator, style: PageStyle) -> Page:
    """A document. Pages of few lines hold one form or table; others several blocks that fill them.

    Its questions are empty if an allowed kind has no single answer on it.
    """
    if style.looks is not None:
        return draw_document(rng, style)
    sheet = RasterSheet(rng, style, pitch=style.pitch)
    edge = between(rng, 4, 6 + style.side // 40)
    frame = RasterFrame(sheet=sheet, rng=rng, left=edge, top=edge, right=style.side - edge, bottom=style.side - edge)
    frame.leading = rng.uniform(1.2, 1.4)
    return sheet.finish(RasterDocument(rng, style, frame).questions())


class RasterDocument:
    """Draws the blocks of a layout into a frame and asks about what they tell."""

    def __init__(self, rng: np.random.Generator, style: PageStyle, frame: RasterFrame) -> None:
        self.rng, self.asker = rng, Asker(rng, style)
        self.fields: list[RasterEntry] = []
        self.facts: list[RasterEntry] = []
        self.table: RasterTable | None = None
        blocks = pick(rng, style.look.doc_layouts).split()
        typed = frame.sheet.pitch > 0
        if frame.lines() < (_FEW_TYPED_LINES if typed else _FEW_LINES):
            frame.leading = rng.uniform(1.35, 1.8)
            blocks = [pick(rng, [block for block in blocks if block not in ("title", "text")])]
        self.parts: list[str] = []
        for index, block in enumerate(blocks):
            printed = frame.sheet.num_marks
            self._draw(block, frame, 1 / (len(blocks) - index))
            if frame.sheet.num_marks > printed:
                self.parts.append(_CAPTIONS[block])

    def _draw(self, block: str, frame: RasterFrame, share: float) -> None:
        if block == "title":
            draw_title(frame)
        elif block in ("form", "stack"):
            self.fields = draw_form(frame, share=min(share, 1.0 if share == 1 else 0.3), stacked=block == "stack")
        elif block in ("table", "zebra"):
            self.table = draw_table(frame, share=1.0 if share == 1 else 0.62, zebra=block == "zebra")
        else:
            self.facts += draw_text(frame, share=share, num_facts=0 if self.facts else 5)

    def questions(self) -> tuple[PageQuestion, ...]:
        return self.asker.collect(
            {
                "field": self._ask_field,
                "date": self._ask_field,
                "fact": self._ask_fact,
                "cell": self._ask_cell,
                "row_with": self._ask_row,
                "total": self._ask_total,
                "describe": self._describe,
            }
        )

    def _describe(self, kind: str) -> PageQuestion | None:
        return self.asker.describe(kind, self.parts) if self.parts else None

    def _ask_field(self, kind: str) -> PageQuestion | None:
        fitting = [entry for entry in self.fields if (entry.name.words in lexicon.DATE_FIELDS) == (kind == "date")]
        return self._ask_entry(kind, fitting)

    def _ask_fact(self, kind: str) -> PageQuestion | None:
        return self._ask_entry(kind, self.facts)

    def _ask_entry(self, kind: str, entries: list[RasterEntry]) -> PageQuestion | None:
        if not entries:
            return None
        entry = pick(self.rng, entries)
        # A sentence has "late fee", a form "Due date": questions are put in the middle of one.
        name = entry.name.words.lower()
        return self.asker.ask(kind, entry.value.words, [entry.value.box], [entry.name.box], field=name)

    def _ask_cell(self, kind: str) -> PageQuestion | None:
        if self.table is None:
            return None
        row, column = self._place(self.table)
        cell, label, head = self.table.cells[row][column], self.table.rows[row], self.table.columns[column]
        parts = {"row": label.words, "column": head.words}
        return self.asker.ask(kind, cell.words, [cell.box], [label.box, head.box], **parts)

    def _ask_row(self, kind: str) -> PageQuestion | None:
        if self.table is None:
            return None
        row, column = self._place(self.table)
        values = Counter(cells[column].words for cells in self.table.cells)
        cell, label, head = self.table.cells[row][column], self.table.rows[row], self.table.columns[column]
        if values[cell.words] > 1:
            return None
        parts = {"column": head.words, "value": cell.words}
        return self.asker.ask(kind, label.words, [label.box], [head.box, cell.box], **parts)

    def _ask_total(self, kind: str) -> PageQuestion | None:
        if self.table is None or not self.table.totals:
            return None
        column = pick(self.rng, list(self.table.totals))
        total, head = self.table.totals[column], self.table.columns[column]
        return self.asker.ask(kind, total.words, [total.box], [head.box], column=head.words)

    def _place(self, table: RasterTable) -> tuple[int, int]:
        return int(self.rng.integers(len(table.rows))), int(self.rng.integers(len(table.columns)))
