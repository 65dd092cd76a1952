"""What documents are made of: titles, forms, tables and running text, each drawn within a rectangle.

Lengths are pixels. A block draws what fits and tells what stands where.
"""

from dataclasses import dataclass, field

import numpy as np

from llava.pages import lexicon
from llava.pages.chance import between, happens, pick, sample
from llava.pages.page import Box
from llava.pages.sheet import AnyFace, Sheet


@dataclass(frozen=True, kw_only=True)
class RasterPrinted:
    """Words and where they stand."""

    words: str
    box: Box


@dataclass(frozen=True, kw_only=True)
class RasterEntry:
    """A name and its value, in a form or in a sentence."""

    name: RasterPrinted
    value: RasterPrinted


@dataclass(frozen=True, kw_only=True)
class RasterTable:
    """A printed table; ``cells[row][column]`` leaves out the first column, which holds the row labels."""

    columns: list[RasterPrinted]
    rows: list[RasterPrinted] = field(default_factory=list)
    cells: list[list[RasterPrinted]] = field(default_factory=list)
    totals: dict[int, RasterPrinted] = field(default_factory=dict)
    """Sums by column."""


@dataclass(kw_only=True)
class RasterFrame:
    """The free part of a sheet: blocks take it from the top."""

    sheet: Sheet
    rng: np.random.Generator
    left: float
    top: float
    right: float
    bottom: float
    leading: float = 1.3
    """Distance of base lines, in sizes of print."""

    @property
    def face(self) -> AnyFace:
        """The face of plain print."""
        return self.sheet.face()

    @property
    def step(self) -> int:
        """Distance of base lines in pixels; on a typed sheet that of its raster."""
        return 2 * self.sheet.pitch or round(self.face.size * self.leading)

    def lines(self, share: float = 1.0) -> int:
        """How many lines fit into a share of what is free."""
        return int((self.bottom - self.top) * share // self.step)


def draw_title(frame: RasterFrame) -> None:
    """A title in larger print, sometimes on a band or over a rule."""
    sheet, size = frame.sheet, round(frame.face.size * 1.5)
    face, words = sheet.face(size), f"{pick(frame.rng, lexicon.TITLES)} {lexicon.short_code(frame.rng)}"
    if face.width(words) > frame.right - frame.left - size:
        return
    if happens(frame.rng, 0.4):
        sheet.fill(frame.left, frame.top, frame.right, frame.top + size * 1.5, sheet.palette.colors["black"])
        sheet.text(frame.left + size / 2, frame.top + size * 1.1, words, face, "white")
    else:
        sheet.text(frame.left, frame.top + size * 1.1, words, face)
        y = round(frame.top + size * 1.5)
        sheet.line([(frame.left, y), (frame.right, y)], sheet.palette.rule)
    frame.top += round(size * 1.5) + frame.step // 2


def draw_form(frame: RasterFrame, *, share: float = 1.0, stacked: bool = False) -> list[RasterEntry]:
    """Fields and values in as many columns as fit; ``stacked`` puts each value below its field's name."""
    sheet, rng, face = frame.sheet, frame.rng, frame.face
    gap, width = face.size, frame.right - frame.left
    mark, fields = pick(rng, (":", "", ".")), sheet.lexicon.fields
    if stacked:
        mark = ""
    filled = [(name, write(rng)) for name, write in fields.items()]
    taken = [face.width(name + mark) + gap + face.width(value) for name, value in filled]
    if stacked:
        taken = [max(face.width(name), face.width(value)) for name, value in filled]
    filled = [pair for pair, needs in zip(filled, taken, strict=True) if needs <= width]
    lines = frame.lines(share) // (2 if stacked else 1)
    widest = max((face.width(name + mark) for name, _ in filled), default=0)
    widest_value = max((face.width(value) for _, value in filled), default=0)
    pitch = (max(widest, widest_value) if stacked else widest + gap + widest_value) + 2 * gap
    num_columns = max(1, int((width + gap) // pitch))
    chosen = sample(rng, filled, lines * num_columns)
    entries, tall = [], frame.step * (2 if stacked else 1)
    for index, (name, value) in enumerate(chosen):
        x = frame.left + (index % num_columns) * (width + gap) / num_columns
        y = frame.top + (index // num_columns) * tall + face.size
        name_box = sheet.text(x, y, name + mark, face, "gray")
        if stacked:
            value_box = sheet.text(x, y + frame.step, value, face, row=name)
        else:
            value_x = x + (widest if num_columns > 1 else face.width(name + mark)) + gap
            value_box = sheet.text(value_x, y, value, face, row=name)
        entries.append(
            RasterEntry(name=RasterPrinted(words=name, box=name_box), value=RasterPrinted(words=value, box=value_box))
        )
    frame.top += -(-len(chosen) // num_columns) * tall + frame.step // 2
    return entries


def draw_table(frame: RasterFrame, *, share: float = 1.0, zebra: bool = False) -> RasterTable | None:
    """A table with as many columns and rows as fit, its sums below; None where not even two rows fit."""
    sheet, rng, face = frame.sheet, frame.rng, frame.face
    lines, gap, words = frame.lines(share), face.size, sheet.lexicon
    if lines < 4:
        return None
    num_rows = min(lines - 2, len(words.items), _few_rows(rng, lines, typed=sheet.pitch > 0) if lines < 12 else lines)
    labels = sample(rng, words.items, num_rows)
    x = frame.left + max(face.width(label) for label in (*labels, "Total")) + gap
    heads: list[tuple[str, list[str], float, float]] = []
    for head in sample(rng, list(words.columns), len(words.columns)):
        if heads and frame.right - x < 2 * gap:
            break
        values = [words.columns[head](rng) for _ in labels]
        total = _sum(values) if head in lexicon.SUMMED else ""
        width = max(face.width(entry) for entry in (head, total, *values))
        if x + width <= frame.right:
            heads.append((head, [*values, total], x, x + width))
            x += width + gap
    if not heads:
        return None
    stretch = (frame.right - x + gap) / len(heads)
    heads = [
        (head, values, x0 + stretch * (i + 1), x1 + stretch * (i + 1)) for i, (head, values, x0, x1) in enumerate(heads)
    ]
    y, ruled = frame.top + face.size, not zebra and happens(rng, 0.6)
    columns = [
        RasterPrinted(
            words=head,
            box=sheet.text(
                x1 if head in lexicon.SUMMED else x0, y, head, face, align=float(head in lexicon.SUMMED), column=head
            ),
        )
        for head, _, x0, x1 in heads
    ]
    table = RasterTable(columns=columns)
    below = round(face.size * 0.3)
    rule = sheet.base_line(y) + below
    sheet.line([(frame.left, rule), (frame.right, rule)], sheet.palette.colors["black"])
    is_summed = any(values[-1] for _, values, _, _ in heads)
    for index, label in enumerate([*labels, "Total"] if is_summed else labels):
        y += frame.step
        rule = sheet.base_line(y) + below
        if zebra and index % 2:
            sheet.fill(frame.left, rule - below - face.size + 1, frame.right, rule, sheet.palette.tint)
        elif ruled or index == num_rows - 1:
            sheet.line([(frame.left, rule), (frame.right, rule)], sheet.palette.rule)
        label_box = sheet.text(frame.left, y, label, face, row=label)
        row = []
        for column, (head, values, x0, x1) in enumerate(heads):
            if not values[index]:
                continue
            end = head in lexicon.SUMMED
            box = sheet.text(x1 if end else x0, y, values[index], face, align=float(end), row=label, column=head)
            if index == num_rows:
                table.totals[column] = RasterPrinted(words=values[index], box=box)
            else:
                row.append(RasterPrinted(words=values[index], box=box))
        if index < num_rows:
            table.rows.append(RasterPrinted(words=label, box=label_box))
            table.cells.append(row)
    frame.top = y + frame.step
    return table


def _few_rows(rng: np.random.Generator, lines: int, *, typed: bool) -> int:
    return between(rng, 4, lines - 2) if typed and lines > 6 else between(rng, 3, 6)


_VALUE = 3
"""Place of the value in the tokens of a sentence that tells a fact."""


def draw_text(frame: RasterFrame, *, share: float = 1.0, num_facts: int = 0) -> list[RasterEntry]:
    """Running text, and the facts that its sentences tell."""
    sheet, rng, face = frame.sheet, frame.rng, frame.face
    known = sheet.lexicon.facts
    facts = [(name, known[name](rng)) for name in sample(rng, list(known), min(num_facts, len(known)))]
    entries: list[RasterEntry] = []
    x, y, blank = frame.left, frame.top + face.size, face.width(" ")
    last = frame.top + frame.lines(share) * frame.step
    while y <= last:
        fact = facts.pop() if facts and happens(rng, 0.4) else None
        tokens = ["The", fact[0], "is", fact[1], "at", "present."] if fact else lexicon.sentence(rng).split()
        boxes: list[Box] = []
        for token in tokens:
            width = face.width(token)
            if x + width > frame.right:
                x, y = frame.left, y + frame.step
                if y > last:
                    break
            # The value belongs to what it is the value of, as in a form.
            told = fact[0] if fact and len(boxes) == _VALUE else None
            boxes.append(sheet.text(x, y, token, face, row=told))
            x += width + blank
        if fact and len(boxes) == len(tokens):
            name, value = RasterPrinted(words=fact[0], box=boxes[1]), RasterPrinted(words=fact[1], box=boxes[_VALUE])
            entries.append(RasterEntry(name=name, value=value))
    frame.top = last + frame.step // 2
    return entries


def _sum(values: list[str]) -> str:
    """The sum as it is printed below a column."""
    if "." in values[0]:
        return lexicon.format_money(sum(round(100 * float(value)) for value in values))
    return str(sum(map(int, values)))
