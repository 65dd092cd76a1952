"""Headings, addresses and running text, some of whose sentences tell a fact."""

from llava.pages import vocabulary as v
from llava.pages.chance import between, happens, pick
from llava.pages.documents.frame import Entry, Frame, Printed
from llava.pages.documents.labels import draw_labels
from llava.pages.typesetting import Type

_FACTS = (
    "The {name} is {value}.", "Please note that the {name} is {value}.", "We have recorded {value} as the {name}.",
    "For your records, the {name} is {value}.", "Your {name} is {value}.", "The {name} was set to {value} last week.",
    "As agreed, the {name} will be {value}.", "{value} is the new {name}.", "The {name} has been changed to {value}.",
    "According to our files the {name} is {value}.", "The {name} given there was {value}, as before.",
    "If the {name} is not {value}, let us know.",
)  # fmt: skip
_KINDS = (
    "Invoice", "Receipt", "Order", "Statement", "Report", "Certificate", "Delivery note", "Application", "Quotation",
    "Price list", "Timetable", "Contract", "Notice", "Summary", "Inspection report", "Registration", "Packing list",
)  # fmt: skip


def draw_heading(frame: Frame, words: str | None = None) -> None:
    """A title in larger type: plain, on a band, over a rule, in the middle or at an end."""
    rng, sheet = frame.rng, frame.sheet
    words = words or (pick(rng, _KINDS) if happens(rng, 0.6) else v.company(rng))
    if happens(rng, 0.2):
        words = words.upper()
    face = frame.face(strong=happens(rng, 0.7), scale=rng.uniform(1.2, 2.2))
    if face.width(words) > frame.width - face.size or frame.top + 2 * face.size > frame.bottom:
        return
    align = pick(rng, (0.0, 0.0, 0.5, 1.0))
    x = frame.left + align * frame.width
    if happens(rng, 0.2):
        ground = pick(rng, ("black", "gray", "blue", "red", "green"))
        sheet.fill(frame.left, frame.top, frame.right, frame.top + 1.6 * face.size, sheet.palette.colors[ground])
        inset = (0.5 - align) * face.size
        sheet.text(x + inset, frame.top + 1.15 * face.size, words, face, "white", align=align)
    else:
        sheet.text(x, frame.top + 1.1 * face.size, words, face, align=align)
        if happens(rng, 0.3):
            y = frame.top + 1.5 * face.size
            sheet.line([(frame.left, y), (frame.right, y)], sheet.palette.rule)
    frame.top += 1.9 * face.size


def draw_address(frame: Frame) -> None:
    """A block of lines that nobody asks about."""
    rng = frame.rng
    lines = [v.company(rng) if happens(rng, 0.5) else v.person(rng), v.street(rng), f"{v.digits(rng, 5)} {v.town(rng)}"]
    lines += [v.phone(rng)] if happens(rng, 0.4) else []
    right, face = happens(rng, 0.3), frame.face()
    for words in lines:
        if frame.lines < 1 or face.width(words) > frame.width:
            return
        x = frame.right if right else frame.left
        frame.sheet.text(x, frame.top + frame.theme.size, words, face, align=float(right))
        frame.skip(1)
    frame.skip(0.5)


def draw_prose(frame: Frame, most_lines: int, num_facts: int) -> list[Entry]:
    """Running text, and the facts that its sentences tell."""
    rng = frame.rng
    labels = draw_labels(rng, num_facts)
    entries: list[Entry] = []
    setter = _Line(frame, frame.face(), min(most_lines, frame.lines))
    sentences = 0
    while setter.has_room and sentences < 40:
        sentences += 1
        if labels and happens(rng, 0.45):
            label = labels.pop()
            value = label.write(rng)
            entry = setter.tell(pick(rng, _FACTS), label.name.lower(), value)
            if entry is not None:
                entries.append(entry)
        else:
            setter.say(_sentence(frame).split(" "))
    setter.end()
    return entries


def _sentence(frame: Frame) -> str:
    words = [v.word(frame.rng) for _ in range(between(frame.rng, 4, 12))]
    if happens(frame.rng, 0.2):
        words[between(frame.rng, 1, len(words) - 1)] = v.any_text(frame.rng)
    return f"{' '.join(words).capitalize()}."


class _Line:
    """Sets words behind each other and breaks lines."""

    def __init__(self, frame: Frame, face: Type, lines: int) -> None:
        self.frame, self.face, self.left_over = frame, face, lines
        self.x = frame.left

    @property
    def has_room(self) -> bool:
        return self.left_over > 0

    def say(self, words: list[str], *, row: str | None = None) -> list[Printed]:
        """Set words; those that no longer fit on the last line are left out."""
        printed = []
        for word in words:
            wide = self.face.width(word)
            if self.x > self.frame.left and self.x + wide > self.frame.right:
                self._break()
            if not self.has_room or wide > self.frame.width:
                break
            y = self.frame.top + self.frame.theme.size
            printed.append(Printed(words=word, box=self.frame.sheet.text(self.x, y, word, self.face, row=row)))
            self.x += wide + self.face.blank
        return printed

    def tell(self, pattern: str, name: str, value: str) -> Entry | None:
        """Set a sentence that tells a fact; the name stands together on a line, and so does the value."""
        found: dict[str, Printed] = {}
        sentence = pattern[0].upper() + pattern[1:]
        for piece in sentence.split(" "):
            key = "name" if "{name}" in piece else "value" if "{value}" in piece else None
            if key is None:
                if len(self.say([piece])) < 1:
                    return None
                continue
            words = name if key == "name" else value
            behind = piece.split("}")[1]
            wide = self.face.width(words + behind)
            if self.x > self.frame.left and self.x + wide > self.frame.right:
                self._break()
            if not self.has_room or wide > self.frame.width:
                return None
            y = self.frame.top + self.frame.theme.size
            box = self.frame.sheet.text(self.x, y, words, self.face, row=name, label=key == "name")
            found[key] = Printed(words=words, box=box)
            if behind:
                self.frame.sheet.text(self.x + self.face.width(words), y, behind, self.face)
            self.x += wide + self.face.blank
        return Entry(name=found["name"], value=found["value"], label=name)

    def _break(self) -> None:
        self.x = self.frame.left
        self.left_over -= 1
        self.frame.skip(1)

    def end(self) -> None:
        if self.x > self.frame.left:
            self.frame.skip(1)
        self.frame.skip(0.6)
