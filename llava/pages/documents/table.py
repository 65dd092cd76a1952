"""Tables of 3 to 30 rows, ruled, striped or bare, with heads and sums in many ways."""

from dataclasses import dataclass

from llava.pages import vocabulary as v
from llava.pages.chance import between, happens, pick
from llava.pages.documents.frame import Frame, Printed, Table
from llava.pages.documents.labels import ROLES, SUMMED, Label, draw_labels, draw_names
from llava.pages.typesetting import Type

_TOTALS = ("Total", "Total", "Sum", "TOTAL", "Grand total", "Totals")
_MOST_ROWS = 30


@dataclass(frozen=True, kw_only=True)
class _Column:
    label: Label
    entries: list[str]
    numbers: list[float]
    left: float = 0.0
    right: float = 0.0


def draw_table(
    frame: Frame, *, role: tuple[str, v.Writer] | None = None, labels: list[Label] | None = None, most: int = _MOST_ROWS
) -> Table | None:
    """A table with as many columns as fit; None where not even three rows do.

    Args:
        role: head and names of the first column.
        labels: of the other columns; drawn at random when not given.
    """
    rng, size = frame.rng, frame.theme.size
    height = frame.line * (rng.uniform(1.0, 1.35) if happens(rng, 0.5) else 1.0)
    room = int((frame.bottom - frame.top) // height) - 2
    if room < 3:
        return None
    num_rows = between(rng, 3, min(room, most)) if happens(rng, 0.6) else min(room, most)
    head, write = role or pick(rng, ROLES)
    names = draw_names(rng, write, num_rows)
    plain, strong = frame.face(), frame.face(strong=True)
    pad = size * rng.uniform(0.4, 1.1)
    # Heads and sums are set in the strong face, names in either.
    widest = max(face.width(name) for name in (*names, head, "Grand total") for face in (plain, strong))
    x = frame.left + widest + 2 * pad
    if x > frame.left + 0.6 * frame.width:
        return None
    columns: list[_Column] = []
    for label in labels or draw_labels(rng, between(rng, 1, 7)):
        if label.name.lower() == head.lower():
            continue
        numbers, entries = _column_values(frame, label, num_rows)
        wide = max(strong.width(label.name), *(plain.width(entry) for entry in entries)) + 2 * pad
        if x + wide > frame.right:
            break
        columns.append(_Column(label=label, entries=entries, numbers=numbers, left=x, right=x + wide))
        x += wide
    if not columns:
        return None
    return _Printer(frame, head, names, columns, height, pad, x).print()


def _column_values(frame: Frame, label: Label, count: int) -> tuple[list[float], list[str]]:
    """Numbers, where the column holds some that add up, and how they are printed."""
    rng = frame.rng
    if label.write is v.integer:
        numbers = [float(between(rng, 0, 10 ** between(rng, 1, 4))) for _ in range(count)]
        return numbers, [f"{int(number):,}" for number in numbers]
    if label.write is v.amount:
        currency = pick(rng, ("", "", "$", "€", "£"))
        numbers = [int(10 ** rng.uniform(1.5, 5.5)) / 100 for _ in range(count)]
        return numbers, [f"{currency}{number:,.2f}" for number in numbers]
    return [], [label.write(rng) for _ in range(count)]


class _Printer:
    """Prints one table."""

    def __init__(
        self, frame: Frame, head: str, names: list[str], columns: list[_Column], height: float, pad: float, end: float
    ) -> None:
        rng = frame.rng
        self.frame, self.head, self.names, self.columns, self.height, self.pad = (
            frame,
            head,
            names,
            columns,
            height,
            pad,
        )
        self.sheet, self.plain, self.strong = frame.sheet, frame.face(), frame.face(strong=True)
        stretch = (frame.right - end) / len(columns) if happens(rng, 0.6) else 0.0
        self.right = end + stretch * len(columns)
        self.stretch = stretch
        self.rules = pick(rng, ("rows", "rows", "grid", "none", "none", "ends"))
        self.striped = self.rules != "grid" and happens(rng, 0.35)
        self.banner = happens(rng, 0.3)
        self.strong_names = happens(rng, 0.2)
        self.flush = happens(rng, 0.75)
        self.summed = happens(rng, 0.55) and any(column.numbers for column in columns)

    def print(self) -> Table:
        frame, top = self.frame, self.frame.top
        heads = self._print_heads()
        table = Table(columns=heads)
        for number, name in enumerate(self.names):
            self._ground(number)
            face = self.strong if self.strong_names else self.plain
            table.rows.append(self._cell(frame.left + self.pad, 0.0, name, face, row=name, label=True))
            cells = []
            for place, column in enumerate(self.columns):
                x, align = self._place(place)
                words = column.entries[number]
                cells.append(self._cell(x, align, words, self.plain, row=name, column=column.label.name))
            table.cells.append(cells)
            self._next()
        if self.summed:
            self._print_totals(table)
        self._close(top)
        for place, column in enumerate(self.columns):
            if column.numbers:
                table.values[place] = column.numbers
        frame.top += 0.6 * frame.line
        return table

    def _place(self, place: int) -> tuple[float, float]:
        """Where the entries of a column stand, and how they are aligned there."""
        column = self.columns[place]
        if self.flush and column.label.write in (*SUMMED, v.decimal, v.percent):
            return column.right + self.stretch * (place + 1) - self.pad, 1.0
        return column.left + self.stretch * (place + 1) + self.pad, 0.0

    def _cell(
        self,
        x: float,
        align: float,
        words: str,
        face: Type,
        color: str = "black",
        *,
        label: bool = False,
        row: str | None = None,
        column: str | None = None,
    ) -> Printed:
        y = self.frame.top + self.height / 2 + 0.35 * self.frame.theme.size
        box = self.sheet.text(x, y, words, face, color, align=align, row=row, column=column, label=label)
        return Printed(words=words, box=box)

    def _print_heads(self) -> list[Printed]:
        frame, color = self.frame, "black"
        if self.banner:
            self.sheet.fill(
                frame.left, frame.top, self.right, frame.top + self.height, self.sheet.palette.colors["black"]
            )
            color = "white"
        self._cell(frame.left + self.pad, 0.0, self.head, self.strong, color)
        heads = []
        for place, column in enumerate(self.columns):
            x, align = self._place(place)
            heads.append(
                self._cell(x, align, column.label.name, self.strong, color, column=column.label.name, label=True)
            )
        self._next()
        if not self.banner and self.rules != "none":
            self._rule(frame.top, strong=True)
        return heads

    def _ground(self, number: int) -> None:
        frame = self.frame
        if self.striped and number % 2:
            self.sheet.fill(frame.left, frame.top, self.right, frame.top + self.height, self.sheet.palette.tint)
        elif number and self.rules in ("rows", "grid"):
            self._rule(frame.top)

    def _print_totals(self, table: Table) -> None:
        self._rule(self.frame.top, strong=True)
        words = pick(self.frame.rng, _TOTALS)
        self._cell(self.frame.left + self.pad, 0.0, words, self.strong, row=words, label=True)
        for place, column in enumerate(self.columns):
            if not column.numbers:
                continue
            total = sum(column.numbers)
            sign = column.entries[0][0] if not column.entries[0][0].isdigit() else ""
            printed = f"{sign}{total:,.2f}" if column.label.write is v.amount else f"{int(total):,}"
            if self.strong.width(printed) > column.right - column.left:
                continue
            x, align = self._place(place)
            table.totals[place] = self._cell(x, align, printed, self.strong, row=words, column=column.label.name)
        self._next()

    def _next(self) -> None:
        self.frame.top += self.height

    def _rule(self, y: float, *, strong: bool = False) -> None:
        color = self.sheet.palette.colors["gray"] if strong else self.sheet.palette.rule
        self.sheet.line([(self.frame.left, y), (self.right, y)], color)

    def _close(self, top: float) -> None:
        if self.rules in ("grid", "ends"):
            self._rule(self.frame.top, strong=self.rules == "ends")
        if self.rules == "grid":
            edges = [
                self.frame.left,
                *(c.left + self.stretch * (n + 1) for n, c in enumerate(self.columns)),
                self.right,
            ]
            for x in edges:
                self.sheet.line([(x, top), (x, self.frame.top)], self.sheet.palette.rule)
            self._rule(top)
