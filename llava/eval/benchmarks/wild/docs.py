"""Documents of real words: records and tables that vega_datasets ships, and prose that comes with it and with Python.

Layouts and questions are those of ``doc_page``.
"""

import re
from codecs import decode
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO

import numpy as np

from llava.eval.benchmarks.wild.tables import PRINTABLE, Records, local_data, real_records
from llava.pages.blocks import RasterFrame, RasterPrinted, RasterTable
from llava.pages.chance import between, happens, pick, sample
from llava.pages.doc_page import RasterDocument
from llava.pages.page import Box, Page
from llava.pages.sheet import RasterSheet
from llava.pages.style import PageStyle

_UNTOLD = "la-riots"
"""Names people by how they died."""


def draw(rng: np.random.Generator, style: PageStyle) -> Page:
    """A document in a layout of the style's look; its questions are empty if an allowed kind has no single answer.

    Raises:
        ValueError: if vega_datasets is not installed.
    """
    sheet = RasterSheet(rng, style, pitch=style.pitch)
    edge = between(rng, 4, 6 + style.side // 40)
    frame = RasterFrame(sheet=sheet, rng=rng, left=edge, top=edge, right=style.side - edge, bottom=style.side - edge)
    frame.leading = rng.uniform(1.2, 1.4)
    return sheet.finish(RealDocument(rng, style, frame).questions())


class RealDocument(RasterDocument):
    """A document whose form shows one record and whose table shows others, with no name in common."""

    def __init__(self, rng: np.random.Generator, style: PageStyle, frame: RasterFrame) -> None:
        self._record = pick(rng, real_records())
        self._tabled = pick(rng, [records for records in real_records() if not records.names & self._record.names])
        super().__init__(rng, style, frame)

    def _draw(self, block: str, frame: RasterFrame, share: float) -> None:
        if block in ("form", "stack"):
            label = pick(self.rng, list(self._record.rows))
            heads, values = (self._record.label, *self._record.columns), (label, *self._record.rows[label])
            fields = {head: lambda _, value=value: value for head, value in zip(heads, values, strict=True)}
            frame.sheet.lexicon = replace(frame.sheet.lexicon, fields=fields)
            super()._draw(block, frame, share)
        elif block in ("table", "zebra"):
            self.table = draw_records(frame, self._tabled, share=1.0 if share == 1 else 0.62)
        else:
            _draw_prose(frame, share)


@dataclass(frozen=True, kw_only=True)
class _LocalColumn:
    """A column that is about to be printed."""

    head: str
    cells: list[str]
    wide: float
    """Pixels that its widest print and a gap take."""
    x: float = 0.0
    """Where its print is flush."""

    @property
    def align(self) -> float:
        """1 for numbers, which are flush on the right, else 0."""
        return float(all(re.fullmatch(r"-?[\d.]+", cell) for cell in self.cells))


def draw_records(frame: RasterFrame, records: Records, *, share: float = 1.0) -> RasterTable | None:
    """Neighboring rows under their title, with sums below where they have any; ruled or striped. None without room."""
    sheet, rng, face, lines = frame.sheet, frame.rng, frame.face, frame.lines(share)
    titled = lines > 11 and face.width(records.title) < frame.right - frame.left
    num_rows = min(lines - 2 - titled, len(records.rows), between(rng, 3, 6) if lines < 12 else lines)
    if num_rows < 2:
        return None
    start = between(rng, 0, len(records.rows) - num_rows)
    first, columns = _place_columns(frame, records, list(records.rows)[start : start + num_rows])
    if not columns:
        return None
    if titled:
        sheet.text(frame.left, frame.top + face.size, records.title, face)
        frame.top += frame.step
    # Typed lines stand so close that a rule of plain print would cross the next one.
    y, below, striped = frame.top + face.size, 2 if sheet.pitch else round(face.size * 0.3), happens(rng, 0.5)
    sheet.text(frame.left, y, first.head, face)
    table = RasterTable(columns=_print_row(frame, y, columns, [column.head for column in columns], row=None))
    rule = sheet.base_line(y) + below
    sheet.line([(frame.left, rule), (frame.right, rule)], sheet.palette.colors["black"])
    for index, label in enumerate(first.cells):
        y += frame.step
        above, rule = rule, sheet.base_line(y) + below
        if striped and index % 2:
            sheet.fill(frame.left, above, frame.right, rule, sheet.palette.tint)
        elif not striped:
            sheet.line([(frame.left, rule), (frame.right, rule)], sheet.palette.rule)
        label_box = sheet.text(frame.left, y, label, face, row=label)
        row = _print_row(frame, y, columns, [column.cells[index] for column in columns], row=label)
        if index == num_rows:
            table.totals.update(enumerate(row))
        else:
            table.rows.append(RasterPrinted(words=label, box=label_box))
            table.cells.append(row)
    frame.top = y + frame.step
    return table


def _print_row(
    frame: RasterFrame, y: float, columns: list[_LocalColumn], words: list[str], *, row: str | None
) -> list[RasterPrinted]:
    """One word or several in each column."""

    def put(column: _LocalColumn, text: str) -> Box:
        return frame.sheet.text(column.x, y, text, frame.face, align=column.align, row=row, column=column.head)

    return [RasterPrinted(words=text, box=put(column, text)) for column, text in zip(columns, words, strict=True)]


def _place_columns(frame: RasterFrame, records: Records, labels: list[str]) -> tuple[_LocalColumn, list[_LocalColumn]]:
    """The column of labels, and as many of the others as fit beside it, spread over the width of the frame."""
    face, gap = frame.face, frame.face.size

    def measure(head: str, cells: list[str]) -> _LocalColumn:
        return _LocalColumn(head=head, cells=cells, wide=max(map(face.width, (head, *cells))) + gap)

    contents = [[records.rows[label][place] for label in labels] for place in range(len(records.columns))]
    if records.summed:
        sums = [str(sum(map(int, cells))) for cells in contents]
        # A sum that is also a cell would be a second right answer.
        if not any(total in cells for total, cells in zip(sums, contents, strict=True)):
            labels = [*labels, "Total"]
            contents = [[*cells, total] for total, cells in zip(sums, contents, strict=True)]
    first = measure(records.label, labels)
    columns = [measure(head, cells) for head, cells in zip(records.columns, contents, strict=True)]
    room, kept = frame.right - frame.left - first.wide + gap, set[int]()
    for place in sample(frame.rng, range(len(columns)), len(columns)):
        if columns[place].wide <= room:
            room -= columns[place].wide
            kept.add(place)
    placed, x = [], frame.left + first.wide
    for column in (columns[place] for place in sorted(kept)):
        wide = column.wide + room / len(kept)
        placed.append(replace(column, x=x + column.align * (wide - gap)))
        x += wide
    return first, placed


def _draw_prose(frame: RasterFrame, share: float) -> None:
    """Paragraphs in any order, on as many lines as the share has."""
    sheet, face = frame.sheet, frame.face
    x, y, last = frame.left, frame.top + face.size, frame.top + frame.lines(share) * frame.step
    for paragraph in sample(frame.rng, prose(), len(prose())):
        for word in paragraph.split():
            width = face.width(word)
            if width > frame.right - frame.left:
                continue
            if x + width > frame.right:
                x, y = frame.left, y + frame.step
            if y > last:
                break
            sheet.text(x, y, word, face)
            x += width + face.width(" ")
        x, y = frame.left, y + frame.step
    frame.top = last + frame.step // 2


@cache
def prose() -> tuple[str, ...]:
    """What vega_datasets says about its tables, without its markup, and the Zen of Python.

    Raises:
        ValueError: if vega_datasets is not installed.
    """
    tables = local_data()
    told = [getattr(tables, name.replace("-", "_")).description for name in tables.list_datasets() if name != _UNTOLD]
    with redirect_stdout(StringIO()):  # it is printed on import
        import this
    told.append(decode(this.s, "rot13"))
    plain = (re.sub(r" <[^>]+>|\s*\[\d\]_|`_?", "", text) for text in told)
    return tuple(text for text in plain if PRINTABLE.issuperset(" ".join(text.split())))
