"""Every answer about a wild page, found again from what stands where, and in the files that vega_datasets ships."""

import re
from collections import Counter
from functools import cache

import numpy as np

from llava.eval.benchmarks.wild.tables import real_records
from llava.pages import HUES, Mark, Page, PageQuestion
from llava.pages.looks import SHIFTED_LOOK
from tests.pages_helpers import center, mark_at, parts_of
from tests.wild_helpers import PAGES, asked, overlap, shipped, wild


class ChartReader:
    """Reads a chart by what stands where; which value belongs to which entry is taken from places alone."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.texts = [mark for mark in page.marks if mark.text]
        self.shapes = [mark for mark in page.marks if mark.shape in ("bar", "point")]
        self.wedges = [mark for mark in page.marks if mark.shape == "wedge"]
        self.swatches = [mark for mark in page.marks if mark.shape == "swatch"]
        self.labels = [mark for mark in self.texts if mark.column and mark.text == mark.column]
        bars = [mark for mark in self.shapes if mark.shape == "bar"]
        lefts, bottoms = {round(mark.box[0], 4) for mark in bars}, {round(mark.box[3], 4) for mark in bars}
        self.lying = bool(bars) and len(lefts) < len(bottoms)
        self.across = 1 if self.lying else 0
        """The axis along which categories follow each other."""
        self.ticks = [mark for mark in self.texts if mark.text.isdigit() and not mark.row and not mark.column]

    @property
    def step(self) -> int:
        return int(self.ticks[1].text) - int(self.ticks[0].text)

    def shape(self, entry: str) -> Mark:
        """The bar or point in the color of the entry's series that is next to the name of its category."""
        series, _, category = entry.rpartition(" in ")
        (label,) = [mark for mark in self.labels if mark.text == category]
        shapes = self.shapes
        if series:
            (name,) = [mark for mark in self.texts if mark.text == series]
            left = [mark for mark in self.swatches if center(mark.box)[0] < center(name.box)[0]]
            swatch = min(left, key=lambda mark: np.hypot(mark.box[2] - name.box[0], mark.box[1] - name.box[1]))
            shapes = [mark for mark in shapes if self.pixel(mark) == self.pixel(swatch)]
        return min(shapes, key=lambda mark: abs(center(mark.box)[self.across] - center(label.box)[self.across]))

    def pixel(self, mark: Mark) -> tuple[int, int, int]:
        side = self.page.image.width
        x, y = center(mark.box)
        return self.page.image.getpixel((int(x * side), int(y * side)))

    def level(self, mark: Mark) -> float:
        """The number on the axis that a bar or point reaches."""
        along = 1 - self.across
        places = [center(tick.box)[along] for tick in self.ticks]
        ends = {"point": center(mark.box)[along], "bar": mark.box[2] if self.lying else mark.box[1]}
        line = np.polyfit(places, [int(tick.text) for tick in self.ticks], 1)
        return float(np.polyval(line, ends[mark.shape]))

    def value(self, entry: str) -> int:
        if self.wedges:
            (share,) = [mark for mark in self.texts if mark.column == entry and mark.text.endswith("%")]
            return int(share.text.rstrip("%"))
        shape = self.shape(entry)
        level, along = self.level(shape), 1 - self.across
        end = shape.box[2] if self.lying else -shape.box[1]
        printed = [
            mark
            for mark in self.texts
            if mark.text.isdigit()
            and mark not in self.ticks
            and mark not in self.labels
            and abs(center(mark.box)[self.across] - center(shape.box)[self.across]) < 0.005
            and 0 <= (mark.box[0] if self.lying else -mark.box[3]) - end < 0.03
        ]
        if printed:
            assert abs(int(printed[0].text) - level) < 0.1 * self.step, (entry, along)
            return int(printed[0].text)
        half = self.step / 2
        assert abs(level / half - round(level / half)) < 0.15, entry
        return round(half * round(level / half))


def chart_answer(page: Page, question: PageQuestion) -> str:
    reader, unit = ChartReader(page), "%" if "%" in str(page.marks) else ""
    if question.kind == "chart_value":
        return f"{reader.value(parts_of(question)['entry'])}{unit}"
    if question.kind == "chart_difference":
        first, second = (reader.value(parts_of(question)[gap]) for gap in ("entry", "other"))
        return f"{abs(first - second)}{unit}"
    categories = dict.fromkeys(mark.column for mark in page.marks if mark.column)
    series = dict.fromkeys(mark.row for mark in page.marks if mark.row)
    axis, fixed = re.fullmatch(
        r"(?:The (?:top|bottom)|Name the) (\w+)(?: that \w+(?: last)?)?(?: (?:in|for) (.+?))?(?: is\?|\.)",
        question.question,
    ).groups()
    if axis == "series":
        values = {name: reader.value(f"{name} in {fixed}") for name in series}
    else:
        values = {name: reader.value(f"{fixed} in {name}" if fixed else name) for name in categories}
    best = (max if question.kind == "chart_largest" else min)(values.values())
    (found,) = [name for name, value in values.items() if value == best]
    return found


def test_chart_answers_stand_on_the_page():
    tried = Counter()
    for page, question in asked("chart_page"):
        if question.kind != "describe" and "color" not in question.kind:
            tried[question.kind] += 1
            assert chart_answer(page, question) == question.answer, question
    assert min(tried.values()) > 20


def test_a_color_that_is_asked_for_has_a_name_and_is_on_the_page():
    tried = 0
    for page, question in asked("chart_page"):
        if "color" in question.kind:
            by_color = question.kind == "chart_by_color"
            box = question.evidence[0] if by_color else question.answer_boxes[0]
            color = parts_of(question)["color"] if by_color else question.answer
            tones = {palette.colors[color] for palette in SHIFTED_LOOK.palettes}
            assert color in HUES
            left, top, right, bottom = (round(place * page.image.width) for place in box)
            pixels = np.asarray(page.image)[top:bottom, left:right].reshape(-1, 3)
            assert tones & set(map(tuple, pixels.tolist())), question
            tried += 1
    assert tried > 20


@cache
def charted() -> dict[str, dict[str, float]]:
    """Values by title and category, straight from the files."""
    found: dict[str, dict[str, float]] = {
        "Driving: Miles": {str(row["year"]): row["miles"] for row in shipped("driving.json")}
    }
    for row in shipped("iowa-electricity.csv"):
        found.setdefault(f"Electricity in Iowa: {row['source']}", {})[row["year"][:4]] = float(row["net_generation"])
    for row in shipped("us-employment.csv"):
        if row["month"].endswith("-01-01"):
            for sector in ("construction", "information", "financial_activities", "other_services"):
                title = f"US jobs in thousands: {sector.replace('_', ' ').capitalize()}"
                found.setdefault(title, {})[row["month"][:4]] = float(row[sector])
    for row in shipped("wheat.json"):
        for name in ("wheat", "wages"):
            found.setdefault(f"Price of wheat: {name.capitalize()}", {})[row["year"]] = row.get(name, 0)
    models = Counter((row["Year"][:4], row["Origin"]) for row in shipped("cars.json"))
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    days = Counter((row["date"][:7], row["weather"]) for row in shipped("seattle-weather.csv"))
    for (year, origin), count in models.items():
        whole = sum(models[key] for key in models if key[0] == year)
        found.setdefault(f"Models of cars, {year}", {})[origin] = 100 * count / whole
        found.setdefault(f"Models of cars: {origin}", {})[year] = count
    for (month, weather), count in days.items():
        year, name = month[:4], months[int(month[5:]) - 1]
        whole = sum(days[key] for key in days if key[0] == month)
        found.setdefault(f"Days of weather {year}, {name}", {})[weather] = 100 * count / whole
        found.setdefault(f"Days of weather {year}: {weather}", {})[name] = count
    return found | {"Airports by state": dict(Counter(row["state"] for row in shipped("airports.csv")))}


def test_values_of_charts_are_those_of_the_tables():
    printed = Counter()
    for page, question in asked("chart_page"):
        reader, tables = ChartReader(page), charted()
        title = next((mark.text for mark in reader.texts if mark.text in tables), None)
        if question.kind == "chart_value" and title is not None:
            entry = parts_of(question)["entry"]
            is_printed = len(question.answer_boxes) == 1
            slack = 0.5 if is_printed else reader.step / 4
            assert abs(int(question.answer.rstrip("%")) - tables[title].get(entry, 0)) <= slack, question
            printed[is_printed] += 1
    assert min(printed[True], printed[False]) > 4


def doc_answer(page: Page, question: PageQuestion) -> str:
    """Found by lines and columns; a table's marks are told from prose by their rows and columns only."""
    parts, texts = parts_of(question), [mark for mark in page.marks if mark.text]
    if "field" in parts:
        (name,) = [m for m in texts if m.color == "gray" and m.text.rstrip(":.").lower() == parts["field"]]
        right = [m for m in texts if m.color == "black" and overlap(m, name, 1) > 0 and m.box[0] > name.box[2]]
        below = [m for m in texts if m.edges[0] == name.edges[0] and m.box[1] > name.box[3]]
        stacked = not any(m.row and m.row.lower() == parts["field"] and m in right for m in texts)
        return (min(below, key=lambda m: m.box[1]) if stacked else min(right, key=lambda m: m.box[0])).text
    (head,) = [m for m in texts if m.text == parts["column"] == m.column]
    cells = [m for m in texts if m.row and m.column and overlap(m, head, 0) > 0 and m.box[1] > head.box[1]]
    labels = [m for m in texts if m.row == m.text and not m.column]

    def label_of(cell: Mark) -> str:
        return max(labels, key=lambda label: overlap(label, cell, 1)).text

    if question.kind == "cell":
        (cell,) = [cell for cell in cells if label_of(cell).lower() == parts["row"].lower()]
        return cell.text
    if question.kind == "row_with":
        (cell,) = [cell for cell in cells if cell.text == parts["value"]]
        return label_of(cell)
    (total,) = [cell for cell in cells if label_of(cell) == "Total"]
    assert int(total.text) == sum(int(cell.text) for cell in cells if cell is not total)
    return total.text


def test_document_answers_stand_on_the_page():
    tried = Counter()
    for page, question in asked("doc_page"):
        if question.kind == "describe":
            continue
        tried[question.kind] += 1
        assert doc_answer(page, question) == question.answer, question
        assert mark_at(page, question.answer_boxes[0]).text == question.answer
    assert min(tried.values()) > 3


COLUMNS = {
    "MPG": ("cars.json", "Name", "Miles_per_Gallon"), "Horsepower": ("cars.json", "Name", "Horsepower"),
    "Weight": ("cars.json", "Name", "Weight_in_lbs"), "Origin": ("cars.json", "Name", "Origin"),
    "City": ("airports.csv", "iata", "city"), "Airport": ("airports.csv", "iata", "name"),
    "Miles": ("driving.json", "year", "miles"), "Wheat": ("wheat.json", "year", "wheat"),
    "High": ("ohlc.json", "date", "high"), "Signal": ("ohlc.json", "date", "signal"),
    "Max temp": ("seattle-weather.csv", "date", "temp_max"), "Sky": ("seattle-weather.csv", "date", "weather"),
    "Penicillin": ("burtin.json", "Bacteria", "Penicillin"), "Genus": ("burtin.json", "Bacteria", "Genus"),
}  # fmt: skip


def test_cells_are_those_of_the_tables():
    for records in real_records():
        for head in COLUMNS.keys() & set(records.columns) if not records.summed else ():
            name, label, key = COLUMNS[head]
            found: dict[str, set[str]] = {}
            for row in shipped(name):
                found.setdefault(str(row[label]), set()).add(str(row.get(key)))
            place = records.columns.index(head)
            assert all(cells[place] in found[row] for row, cells in records.rows.items()), head
    tried = set()
    for page in (page for key in PAGES if key[0] == "doc_page" for page in wild(*key)):
        for question in page.questions:
            parts = parts_of(question)
            if question.kind == "cell" and parts["column"] in COLUMNS:
                name, label, key = COLUMNS[parts["column"]]
                found = [str(row[key]) for row in shipped(name) if str(row[label]).lower() == parts["row"].lower()]
                assert question.answer == found[0], question
                tried.add(parts["column"])
    assert len(tried) > 5
