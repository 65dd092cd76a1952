"""Bars that lie: categories down the left, values to the right, as lists of results are often drawn."""

import numpy as np

from llava.pages.chance import between, happens, pick, sample
from llava.pages.chart import Chart, Rectangle, color_single, draw_legend
from llava.pages.page import HUES, Box
from llava.pages.sheet import AnyFace, Sheet


def draw_sideways(
    chart: Chart, sheet: Sheet, rng: np.random.Generator, face: AnyFace, inside: Rectangle, layout: str
) -> None:
    """Draw the bars of one to three series, with printed values or a scale below."""
    if happens(rng, 0.35):
        chart.series = sample(rng, sheet.lexicon.series, between(rng, 2, 3))
        chart.colors = dict(zip(chart.series, sample(rng, HUES, len(chart.series)), strict=True))
        inside = draw_legend(chart, sheet, face, inside, layout)
    x0, y0, x1, y1 = inside
    line = face.size * 1.35
    slot = max(line, 7.0 * len(chart.series) + 4)
    most = max(2, int((y1 - y0 - line - 4) // slot))
    chart.categories = _fitting(rng, sheet, face, 0.4 * (x1 - x0), most)
    slot = (y1 - y0 - line - 4) / len(chart.categories)
    left = x0 + max(map(face.width, chart.categories)) + 7
    printed = happens(rng, 0.65)
    step, base = pick(rng, sheet.lexicon.steps), y1 - line
    most_ticks = int((x1 - left) // (face.width(str(8 * step)) + face.size))
    num_ticks = max(2, len(chart.series), min(between(rng, 3, 8), most_ticks))
    largest = step * num_ticks
    right = x1 - (face.width(str(largest)) + 5 if printed else face.width(str(largest)) / 2)
    scale = (right - left) / largest
    ticks = _draw_scale(sheet, face, left, (y0, base), [step * tick for tick in range(num_ticks + 1)], scale, printed)
    chart.choose_values(rng, step, num_ticks, printed=printed and largest > 9)
    if len(chart.series) == 1:
        color_single(chart, rng)
    thick = max(3.0, slot * 0.78 / len(chart.series))
    for index, category in enumerate(chart.categories):
        middle = y0 + slot * (index + 0.5)
        chart.label_boxes[category] = sheet.text(
            left - 5, middle + face.cap_height / 2, category, face, align=1, column=category
        )
        for bar, name in enumerate(chart.series):
            value = chart.values[name, category]
            y = middle + (bar - len(chart.series) / 2) * thick
            color = chart.colors.get(name or category, chart.colors.get("", ""))
            end = left + value * scale
            box = sheet.bar(left, y, end, y + thick - 1, "bar", color, row=name or None, column=category)
            chart.color_boxes.setdefault(name or category, box)
            if printed:
                where = end + 3, y + thick / 2 + face.cap_height / 2
                written = sheet.text(*where, str(value), face, row=name or None, column=category)
                chart.value_boxes[name, category] = (written,)
            else:
                chart.value_boxes[name, category] = (box, ticks[value])


def _fitting(rng: np.random.Generator, sheet: Sheet, face: AnyFace, width: float, most: int) -> list[str]:
    """Neighboring categories of one kind whose labels are narrow enough."""
    pools = sheet.lexicon.categories
    for pool in sample(rng, pools, len(pools)):
        names = [name for name in pool if face.width(name) <= width]
        if len(names) >= 2:
            count = between(rng, 2, min(len(names), most, 12))
            start = between(rng, 0, len(names) - count)
            return names[start : start + count]
    return list("AB")


def _draw_scale(
    sheet: Sheet, face: AnyFace, left: float, span: tuple[float, float], values: list[int], scale: float, printed: bool
) -> dict[int, Box]:
    """The axis and, where no values are printed, a line and a number for each tick; the numbers' boxes."""
    top, base = span
    sheet.line([(left, top), (left, base)], sheet.palette.colors["gray"])
    if printed:
        return {}
    boxes = {}
    for value in values:
        x = left + value * scale
        if value:
            sheet.line([(x, top), (x, base)], sheet.palette.rule)
        boxes[value] = sheet.text(x, base + face.size * 1.1, str(value), face, "gray", align=0.5)
    return boxes
