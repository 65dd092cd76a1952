"""Fields and their values, in the many ways that forms, letterheads and sums at the foot of a bill set them."""

from collections.abc import Callable

from llava.pages.chance import between, happens, pick
from llava.pages.documents.frame import Entry, Frame, Printed
from llava.pages.documents.labels import Label, draw_labels
from llava.pages.typesetting import Type

_MARKS = (":", ":", ":", "", " -", ".", " =")


def draw_form(frame: Frame, most: int, labels: list[Label] | None = None) -> list[Entry]:
    """Up to ``most`` fields in one arrangement; fewer where they do not fit."""
    rng = frame.rng
    wanted = labels or draw_labels(rng, most)
    filled = [(label.name, label.write(rng)) for label in wanted]
    setter = _Setter(frame)
    arrange = pick(rng, (_beside, _beside, _aligned, _aligned, _leaders, _stacked, _boxed, _ruled, _inline))
    count = 1
    if arrange is not _inline and frame.width > 24 * frame.theme.size and happens(rng, 0.5):
        count = 2 if frame.width < 40 * frame.theme.size or happens(rng, 0.7) else 3
    entries: list[Entry] = []
    per_column = -(-len(filled) // count)
    frames = frame.columns(count, 1.5 * frame.theme.size)
    for number, part in enumerate(frames):
        entries += arrange(setter, part, filled[number * per_column : (number + 1) * per_column])
    frame.top = max(part.top for part in frames) + 0.5 * frame.line
    return entries


class _Setter:
    """How one form sets its labels: their face, color, case and the mark behind them."""

    def __init__(self, frame: Frame) -> None:
        rng = frame.rng
        self.sheet, self.strong = frame.sheet, happens(rng, 0.35)
        self.mark = pick(rng, _MARKS)
        self.gray = not self.strong and happens(rng, 0.3)
        self.upper = happens(rng, 0.12)
        self.strong_values = not self.strong and happens(rng, 0.2)
        self.label_face = frame.face(strong=self.strong)
        self.value_face = frame.face(strong=self.strong_values)

    def named(self, name: str, mark: bool = True) -> str:
        return (name.upper() if self.upper else name) + (self.mark if mark else "")

    def label(self, x: float, y: float, name: str, *, face: Type | None = None, mark: bool = True) -> Printed:
        words = self.named(name, mark)
        color = "gray" if self.gray else "black"
        box = self.sheet.text(x, y, words, face or self.label_face, color, row=name, label=True)
        return Printed(words=words, box=box)

    def value(self, x: float, y: float, words: str, name: str, *, align: float = 0) -> Printed:
        box = self.sheet.text(x, y, words, self.value_face, align=align, row=name)
        return Printed(words=words, box=box)


Arrange = Callable[[_Setter, Frame, list[tuple[str, str]]], list[Entry]]


def _entry(name: Printed, value: Printed, label: str) -> Entry:
    return Entry(name=name, value=value, label=label)


def _beside(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """The value right behind its label."""
    entries = []
    for name, value in filled:
        room = setter.label_face.width(setter.named(name)) + 0.5 * frame.theme.size
        if frame.lines < 1 or room + setter.value_face.width(value) > frame.width:
            continue
        y = frame.top + frame.theme.size
        entries.append(_entry(setter.label(frame.left, y, name), setter.value(frame.left + room, y, value, name), name))
        frame.skip(1)
    return entries


def _aligned(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """Values in a column of their own, flush left or right."""
    gap = frame.theme.size * frame.rng.uniform(0.7, 2.5)
    flush = happens(frame.rng, 0.3)
    needs = [setter.label_face.width(setter.named(name)) for name, _ in filled]
    widest = min(max(needs, default=0.0), 0.6 * frame.width)
    entries = []
    for (name, value), need in zip(filled, needs, strict=True):
        if frame.lines < 1 or need > widest or widest + gap + setter.value_face.width(value) > frame.width:
            continue
        y = frame.top + frame.theme.size
        x = frame.right if flush else frame.left + widest + gap
        entries.append(
            _entry(setter.label(frame.left, y, name), setter.value(x, y, value, name, align=float(flush)), name)
        )
        frame.skip(1)
    return entries


def _leaders(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """Values at the right end, dots or a rule on the way."""
    dotted = happens(frame.rng, 0.6)
    entries = []
    for name, value in filled:
        need, wide = setter.label_face.width(setter.named(name, False)), setter.value_face.width(value)
        if frame.lines < 1 or need + wide + 2 * frame.theme.size > frame.width:
            continue
        y, sheet = frame.top + frame.theme.size, frame.sheet
        start, stop = frame.left + need + 0.4 * frame.theme.size, frame.right - wide - 0.4 * frame.theme.size
        if dotted:
            step = max(3.0, 0.35 * frame.theme.size)
            for number in range(int((stop - start) // step)):
                sheet.fill(start + number * step, y - 1, start + number * step + 1, y, sheet.palette.colors["gray"])
        else:
            sheet.line([(start, y), (stop, y)], sheet.palette.rule)
        entries.append(
            _entry(
                setter.label(frame.left, y, name, mark=False),
                setter.value(frame.right, y, value, name, align=1.0),
                name,
            )
        )
        frame.skip(1)
    return entries


def _stacked(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """The value below its label, which is often smaller."""
    small = setter.sheet.face(frame.theme.size * frame.rng.uniform(0.75, 1.0), strong=setter.strong)
    entries = []
    for name, value in filled:
        if frame.lines < 2 or max(small.width(setter.named(name)), setter.value_face.width(value)) > frame.width:
            continue
        y = frame.top + frame.theme.size
        label = setter.label(frame.left, y, name, face=small)
        entries.append(_entry(label, setter.value(frame.left, y + frame.line, value, name), name))
        frame.skip(2.3)
    return entries


def _boxed(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """The value inside a box, its label above, in front or small in the box's corner."""
    sheet, size = frame.sheet, frame.theme.size
    small = sheet.face(size * 0.8, strong=setter.strong)
    above = happens(frame.rng, 0.5)
    entries = []
    for name, value in filled:
        if frame.lines < 3 or max(small.width(setter.named(name)), setter.value_face.width(value)) + size > frame.width:
            continue
        top = frame.top + (1.1 * size if above else 0.2 * size)
        low = top + (1.7 if above else 2.6) * size
        _outline(frame, frame.left, top, frame.right, low)
        label = setter.label(frame.left + (0 if above else 0.4 * size), frame.top + 0.9 * size, name, face=small)
        entries.append(_entry(label, setter.value(frame.left + 0.5 * size, low - 0.5 * size, value, name), name))
        frame.top = low + 0.5 * size
    return entries


def _ruled(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """A table of two columns with lines around its cells."""
    sheet, size = frame.sheet, frame.theme.size
    needs = [setter.label_face.width(setter.named(name, False)) for name, _ in filled]
    middle = frame.left + min(max(needs, default=0.0), 0.55 * frame.width) + size
    height, start = frame.line * frame.rng.uniform(1.05, 1.4), frame.top
    shaded = happens(frame.rng, 0.4)
    entries = []
    for (name, value), need in zip(filled, needs, strict=True):
        fits = need + size <= middle - frame.left and middle + setter.value_face.width(value) + size <= frame.right
        if frame.top + height > frame.bottom or not fits:
            continue
        if shaded:
            sheet.fill(frame.left, frame.top, middle, frame.top + height, sheet.palette.tint)
        sheet.line([(frame.left, frame.top), (frame.right, frame.top)], sheet.palette.rule)
        y = frame.top + height / 2 + 0.35 * size
        label = setter.label(frame.left + 0.5 * size, y, name, mark=False)
        entries.append(_entry(label, setter.value(middle + 0.5 * size, y, value, name), name))
        frame.top += height
    _outline(frame, frame.left, start, frame.right, frame.top)
    sheet.line([(middle, start), (middle, frame.top)], sheet.palette.rule)
    return entries


def _inline(setter: _Setter, frame: Frame, filled: list[tuple[str, str]]) -> list[Entry]:
    """Fields behind each other in running lines, parted by a sign or by room."""
    size, x = frame.theme.size, frame.left
    parting = pick(frame.rng, ("|", "·", ";", "", ""))
    entries: list[Entry] = []
    for name, value in filled:
        room = setter.label_face.width(setter.named(name)) + 0.45 * size
        wide = room + setter.value_face.width(value)
        if x > frame.left and x + wide > frame.right:
            x = frame.left
            frame.skip(1)
        if frame.lines < 1 or x + wide > frame.right:
            continue
        y = frame.top + size
        entries.append(_entry(setter.label(x, y, name), setter.value(x + room, y, value, name), name))
        x += wide + size
        if parting and x < frame.right - 2 * size:
            frame.sheet.text(x - 0.6 * size, y, parting, setter.value_face, "gray")
            x += 0.6 * size
    frame.skip(1)
    return entries


def _outline(frame: Frame, x0: float, y0: float, x1: float, y1: float) -> None:
    frame.sheet.line([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], frame.sheet.palette.rule)


def count_fields(frame: Frame) -> int:
    """How many fields a form may try to set."""
    return between(frame.rng, 3, max(4, min(26, frame.lines)))
