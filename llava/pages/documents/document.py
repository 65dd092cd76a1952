"""Whole documents: which parts a form, an invoice, a letter or a list is made of, and what may be asked about it."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from llava.pages import vocabulary as v
from llava.pages.asking import Asker
from llava.pages.chance import between, happens, pick
from llava.pages.documents.form import count_fields, draw_form
from llava.pages.documents.frame import Entry, Frame, Table
from llava.pages.documents.labels import KNOWN, Label, draw_labels
from llava.pages.documents.prose import draw_address, draw_heading, draw_prose
from llava.pages.documents.table import draw_table
from llava.pages.page import Page, PageQuestion
from llava.pages.print_sheet import PrintSheet
from llava.pages.style import PageStyle
from llava.pages.theme import draw_theme

ABSENT = "not on the page"
"""The answer to a question about what a page does not show."""
_WRITERS = dict(KNOWN)


def draw_document(rng: np.random.Generator, style: PageStyle) -> Page:
    """A document; its questions are empty if an allowed kind has no single answer on it."""
    assert style.looks is not None
    sheet = PrintSheet(rng, draw_theme(rng, style.looks), style.wear)
    return sheet.finish(Document(rng, style, _free_part(rng, sheet)).questions())


def _free_part(rng: np.random.Generator, sheet: PrintSheet) -> Frame:
    """Most of the sheet, or a part of it anywhere."""
    edge = sheet.theme.size * rng.uniform(0.4, 3.0)
    left, right, top = edge, sheet.width - edge, edge * rng.uniform(0.3, 1.0)
    if happens(rng, 0.4):
        left += rng.uniform(0, 0.25) * (right - left)
        right -= rng.uniform(0, 0.25) * (right - left)
    if happens(rng, 0.4):
        top += rng.uniform(0, 0.5) * sheet.height
    return Frame(sheet=sheet, rng=rng, left=left, top=top, right=right, bottom=sheet.height - edge)


class Document:
    """Draws the parts of a kind of document into a frame and asks about what they tell."""

    def __init__(self, rng: np.random.Generator, style: PageStyle, frame: Frame) -> None:
        self.rng, self.asker, self.frame = rng, Asker(rng, style), frame
        self.fields: list[Entry] = []
        self.facts: list[Entry] = []
        self.table: Table | None = None
        self.caption = ""
        pick(rng, _KINDS)(self)

    # The kinds of documents

    def form(self) -> None:
        self.caption = "a form"
        self._maybe_heading(0.7)
        if happens(self.rng, 0.3):
            self._prose(3)
        self.fields = draw_form(self.frame, count_fields(self.frame))

    def invoice(self) -> None:
        self.caption = "an invoice"
        self._maybe_heading(0.9)
        if happens(self.rng, 0.6):
            draw_address(self.frame)
        self.fields = draw_form(self.frame, between(self.rng, 2, 6))
        priced = [
            Label(name=name, write=_WRITERS[name]) for name in ("Qty", "Unit price", "Cost") if happens(self.rng, 0.8)
        ]
        self.table = draw_table(self.frame, role=("Description", v.cased_word), labels=priced or None, most=14)
        names = [label for label in ("Subtotal", "VAT", "Shipping", "Amount due") if happens(self.rng, 0.6)]
        if names and self.frame.lines > len(names):
            labels = [Label(name=name, write=v.amount) for name in names]
            below = self.frame.columns(2, self.frame.theme.size)[1] if happens(self.rng, 0.6) else self.frame
            self.fields += draw_form(below, len(labels), labels)
            self.frame.top = max(self.frame.top, below.top)
        self._fill()

    def receipt(self) -> None:
        self.caption = "a receipt"
        wide = self.frame.width * self.rng.uniform(0.45, 0.8)
        self.frame.left += (self.frame.width - wide) * self.rng.uniform(0, 1)
        self.frame.right = self.frame.left + wide
        draw_heading(self.frame, v.company(self.rng))
        if happens(self.rng, 0.7):
            draw_address(self.frame)
        labels = [
            Label(name=name, write=v.amount)
            for name in dict.fromkeys(v.cased_word(self.rng).capitalize() for _ in range(between(self.rng, 3, 12)))
        ]
        self.fields = draw_form(self.frame, len(labels), labels)
        self.fields += draw_form(self.frame, 5, draw_labels(self.rng, between(self.rng, 2, 5)))

    def letter(self) -> None:
        self.caption = "a letter"
        draw_address(self.frame)
        if happens(self.rng, 0.7):
            self.fields = draw_form(self.frame, between(self.rng, 1, 4))
        self._maybe_heading(0.4)
        while self.frame.lines > 3 and len(self.facts) < 8:
            self._prose(between(self.rng, 3, 12))
            if happens(self.rng, 0.2):
                break

    def price_list(self) -> None:
        self.caption = "a price list"
        self._maybe_heading(0.8)
        labels = [Label(name="Price", write=v.amount), *draw_labels(self.rng, between(self.rng, 0, 2))]
        self.table = draw_table(
            self.frame,
            role=pick(self.rng, (("Item", v.cased_word), ("Product", v.cased_word), ("Dish", v.cased_word))),
            labels=labels,
        )
        self._fill()

    def timetable(self) -> None:
        self.caption = "a timetable"
        self._maybe_heading(0.7)
        heads = dict.fromkeys(
            pick(self.rng, (v.code, v.invented_word))(self.rng).capitalize() for _ in range(between(self.rng, 2, 7))
        )
        labels = [Label(name=head, write=v.clock) for head in heads]
        self.table = draw_table(self.frame, role=("Stop", v.town), labels=labels)
        self._fill()

    def list_of_things(self) -> None:
        self.caption = "a table"
        self._maybe_heading(0.5)
        if happens(self.rng, 0.3):
            self._prose(3)
        self.table = draw_table(self.frame)
        self._fill()

    def report(self) -> None:
        self.caption = "a report"
        self._maybe_heading(0.8)
        self._prose(between(self.rng, 2, 8))
        self.table = draw_table(self.frame, most=12)
        self._prose(between(self.rng, 2, 8))
        if self.frame.lines > 4:
            self.fields = draw_form(self.frame, min(8, self.frame.lines))

    def _maybe_heading(self, probability: float) -> None:
        if happens(self.rng, probability):
            draw_heading(self.frame)

    def _prose(self, lines: int) -> None:
        self.facts += draw_prose(self.frame, lines, between(self.rng, 0, 3))

    def _fill(self) -> None:
        """Something below a table, now and then."""
        if self.frame.lines > 3 and happens(self.rng, 0.4):
            self._prose(between(self.rng, 1, 5))

    # What may be asked

    def questions(self) -> tuple[PageQuestion, ...]:
        """Questions in turn of their kinds."""
        return self.asker.collect(
            {
                "field": self._ask_field,
                "fact": self._ask_fact,
                "cell": self._ask_cell,
                "row_with": self._ask_row,
                "total": self._ask_total,
                "below": self._ask_below,
                "most": self._ask_most,
                "rows": self._ask_rows,
                "absent": self._ask_absent,
                "describe": self._describe,
            }
        )

    def _describe(self, kind: str) -> PageQuestion | None:
        return self.asker.describe(kind, [self.caption])

    def _alone(self, entries: list[Entry]) -> list[Entry]:
        """Entries whose label stands on the page once."""
        names = [entry.label.lower() for entry in (*self.fields, *self.facts)]
        if self.table is not None:
            names += [head.words.lower() for head in self.table.columns]
        counts = Counter(names)
        return [entry for entry in entries if counts[entry.label.lower()] == 1]

    def _ask_field(self, kind: str) -> PageQuestion | None:
        return self._ask_entry(kind, self._alone(self.fields))

    def _ask_fact(self, kind: str) -> PageQuestion | None:
        return self._ask_entry(kind, self._alone(self.facts))

    def _ask_entry(self, kind: str, entries: list[Entry]) -> PageQuestion | None:
        if not entries:
            return None
        entry = pick(self.rng, entries)
        name = entry.label if happens(self.rng, 0.3) else entry.label.lower()
        return self.asker.ask(kind, entry.value.words, [entry.value.box], [entry.name.box], field=name)

    def _place(self) -> tuple[Table, int, int] | None:
        table = self.table
        if table is None:
            return None
        return table, int(self.rng.integers(len(table.rows))), int(self.rng.integers(len(table.columns)))

    def _ask_cell(self, kind: str) -> PageQuestion | None:
        found = self._place()
        if found is None:
            return None
        table, row, column = found
        cell, label, head = table.cells[row][column], table.rows[row], table.columns[column]
        parts = {"row": label.words, "column": head.words.lower()}
        return self.asker.ask(kind, cell.words, [cell.box], [label.box, head.box], **parts)

    def _ask_row(self, kind: str) -> PageQuestion | None:
        found = self._place()
        if found is None:
            return None
        table, row, column = found
        values = Counter(cells[column].words for cells in table.cells)
        cell, label, head = table.cells[row][column], table.rows[row], table.columns[column]
        if values[cell.words] > 1:
            return None
        parts = {"column": head.words.lower(), "value": cell.words}
        return self.asker.ask(kind, label.words, [label.box], [head.box, cell.box], **parts)

    def _ask_total(self, kind: str) -> PageQuestion | None:
        if self.table is None or not self.table.totals:
            return None
        column = pick(self.rng, list(self.table.totals))
        total, head = self.table.totals[column], self.table.columns[column]
        return self.asker.ask(kind, total.words, [total.box], [head.box], column=head.words.lower())

    def _ask_below(self, kind: str) -> PageQuestion | None:
        if self.table is None or len(self.table.rows) < 2:
            return None
        row = int(self.rng.integers(len(self.table.rows) - 1))
        above, below = self.table.rows[row], self.table.rows[row + 1]
        return self.asker.ask(kind, below.words, [below.box], [above.box], row=above.words)

    def _ask_most(self, kind: str) -> PageQuestion | None:
        if self.table is None or not self.table.values:
            return None
        column = pick(self.rng, list(self.table.values))
        numbers = self.table.values[column]
        best = max(numbers)
        if numbers.count(best) > 1:
            return None
        row, head = numbers.index(best), self.table.columns[column]
        label, cell = self.table.rows[row], self.table.cells[row][column]
        return self.asker.ask(kind, label.words, [label.box], [head.box, cell.box], column=head.words.lower())

    def _ask_rows(self, kind: str) -> PageQuestion | None:
        if self.table is None or len(self.table.rows) > 12:
            return None
        boxes = [row.box for row in self.table.rows]
        return self.asker.ask(kind, str(len(boxes)), boxes, [])

    def _ask_absent(self, kind: str) -> PageQuestion | None:
        shown = {entry.label.lower() for entry in (*self.fields, *self.facts)}
        if self.table is not None:
            shown |= {"total", *(label.words.lower() for label in (*self.table.columns, *self.table.rows))}
        (label,) = draw_labels(self.rng, 1)
        name = label.name.lower()
        words = [name, *(word for word in name.split() if len(word) > 3)]
        if any(word in text for text in shown for word in words):
            return None
        return self.asker.ask("field", ABSENT, [], [], field=name)


_KINDS: tuple[Callable[[Document], None], ...] = (
    Document.form,
    Document.form,
    Document.invoice,
    Document.receipt,
    Document.letter,
    Document.price_list,
    Document.timetable,
    Document.list_of_things,
    Document.list_of_things,
    Document.report,
)
