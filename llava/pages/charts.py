"""Charts: bars, grouped bars, lines and pies with axes, legends and tick labels, each drawn within a rectangle."""

from collections.abc import Callable
from math import cos, radians, sin

import numpy as np

from llava.pages.chance import between, happens, pick, sample
from llava.pages.chart import Chart, Rectangle, color_single, draw_legend
from llava.pages.page import HUES, Box
from llava.pages.sheet import AnyFace, Sheet
from llava.pages.sideways import draw_sideways

TITLE_SIZE = 1.2
"""Of titles, in sizes of plain print."""


def draw_chart(
    sheet: Sheet, rng: np.random.Generator, rectangle: Rectangle, *, layout: str, title: str, kind: str, size: float
) -> Chart:
    """Draw a chart of a kind (``bar``, ``grouped``, ``line``, ``pie`` or ``sideways``) with print of ``size`` pixels.

    ``layout`` is one of a look's ``chart_layouts``; a title that is not wanted is "".
    """
    face = sheet.face(size)
    x0, y0, x1, y1 = rectangle
    chart = Chart(kind=kind, series=[""], categories=[])
    sheet.panel = title or None
    if title:
        chart.title = title
        chart.title_box = sheet.text(
            (x0 + x1) / 2, y0 + size * 1.1, title, sheet.face(round(TITLE_SIZE * size)), align=0.5
        )
        y0 += round(size * 1.7)
    inside = (x0, y0, x1, y1)
    if kind == "sideways":
        draw_sideways(chart, sheet, rng, face, inside, layout)
    elif kind == "pie":
        _draw_pie(chart, sheet, rng, face, inside, legend_left=layout in ("legend left", "legend bottom"))
    else:
        _draw_axes_chart(chart, sheet, rng, face, inside, layout)
    sheet.panel = None
    return chart


def _draw_pie(
    chart: Chart, sheet: Sheet, rng: np.random.Generator, face: AnyFace, inside: Rectangle, *, legend_left: bool
) -> None:
    x0, y0, x1, y1 = inside
    line = round(face.size * 1.35)
    most = max(2, min(6, int((y1 - y0) // line)))
    names = _short(rng, face, pick(rng, sheet.lexicon.shares), (x1 - x0) * 0.3)
    chart.categories = names[: between(rng, 2, most)]
    chart.unit = "%"
    shares = _shares(rng, len(chart.categories))
    chart.values = {("", name): share for name, share in zip(chart.categories, shares, strict=True)}
    chart.colors = dict(zip(chart.categories, sample(rng, HUES, len(shares)), strict=True))
    swatch = round(face.size * 0.7)
    name_width = max(map(face.width, chart.categories))
    legend = swatch + 4 + name_width + 6
    radius = _radius(inside, legend)
    printed_inside = all(2 * 0.62 * radius * sin(np.pi * share / 100) > face.width("00%") + 2 for share in shares)
    if not printed_inside:
        legend += face.width("00%") + 4
        radius = _radius(inside, legend)
    x, y = (x1 - radius - 2 if legend_left else x0 + radius + 2), (y0 + y1) / 2
    turns = np.cumsum([between(rng, 0, 359), *(3.6 * share for share in shares)])
    chart_colors = [chart.colors[name] for name in chart.categories]
    sheet.pie(x, y, radius, list(zip(turns[:-1].tolist(), turns[1:].tolist(), chart_colors, strict=True)))
    for index, (name, share) in enumerate(zip(chart.categories, shares, strict=True)):
        angle = radians((turns[index] + turns[index + 1]) / 2)
        mid_x, mid_y = x + 0.62 * radius * cos(angle), y + 0.62 * radius * sin(angle)
        half = min(0.28 * radius, 0.4 * radius * sin(np.pi * min(share, 50) / 100))
        corners = (mid_x - half, mid_y - half, mid_x + half, mid_y + half)
        chart.color_boxes[name] = sheet.note("wedge", chart.colors[name], corners, row=None, column=name)
        left = x0 if legend_left else x1 - legend
        base = y + (index - len(shares) / 2 + 0.75) * line
        foot = sheet.base_line(base)
        sheet.bar(left, foot - swatch, left + swatch, foot, "swatch", chart.colors[name], column=name)
        chart.label_boxes[name] = sheet.text(left + swatch + 4, base, name, face, column=name)
        words = f"{share}%"
        if printed_inside:
            dark = sum(sheet.palette.colors[chart.colors[name]]) < 330
            ink = "white" if dark else "black"
            box = sheet.text(mid_x, mid_y + face.cap_height / 2, words, face, ink, align=0.5, column=name)
        else:
            box = sheet.text(left + swatch + 10 + name_width, base, words, face, "gray", column=name)
        chart.value_boxes["", name] = (box,)


def _draw_axes_chart(
    chart: Chart, sheet: Sheet, rng: np.random.Generator, face: AnyFace, inside: Rectangle, layout: str
) -> None:
    grouped = chart.kind == "grouped"
    if grouped or (chart.kind == "line" and happens(rng, 0.6)):
        # Three need as many ticks, below a legend of two lines.
        roomy = inside[2] - inside[0] > 200 and inside[3] - inside[1] > 9 * face.size + 7
        chart.series = sample(rng, sheet.lexicon.series, between(rng, 2, 3 if roomy else 2))
        chart.colors = dict(zip(chart.series, sample(rng, HUES, len(chart.series)), strict=True))
        inside = draw_legend(chart, sheet, face, inside, layout)
    x0, y0, x1, y1 = inside
    top, base = y0 + face.size + 4, y1 - round(face.size * 1.4)
    # Each series of a category ends at a tick of its own where no values are printed.
    num_ticks = max(2, len(chart.series), min(between(rng, 4, 8), int((base - top) // (face.size + 1))))
    step = pick(rng, sheet.lexicon.steps)
    left = x0 + max(face.width(str(step * tick)) for tick in range(num_ticks + 1)) + 5
    chart.categories, slot = _fit_categories(rng, sheet, face, x1 - left, 6 * len(chart.series) + 4)
    thin = slot * 0.8 / len(chart.series) if chart.kind != "line" else slot / len(chart.series)
    printed = step * num_ticks > 9 and thin > face.width(str(step * num_ticks)) + 1
    printed = printed and (chart.kind != "line" or len(chart.series) == 1) and happens(rng, 0.6)
    chart.choose_values(rng, step, num_ticks, printed=printed)
    if len(chart.series) == 1:
        color_single(chart, rng)
    scale = (base - top) / (step * num_ticks)
    ticks: dict[int, Box] = {}
    for tick in range(num_ticks + 1):
        height = round(base - tick * step * scale)
        line = sheet.palette.rule if tick else sheet.palette.colors["gray"]
        sheet.line(
            [(left, height), (x1, height)] if not printed or not tick else [(left - 3, height), (left, height)], line
        )
        box = sheet.text(left - 5, height + face.cap_height / 2, str(tick * step), face, "gray", align=1)
        ticks[tick * step] = box
    for index, category in enumerate(chart.categories):
        x = left + slot * (index + 0.5)
        chart.label_boxes[category] = sheet.text(x, y1 - 3, category, face, align=0.5, column=category)
    draw = _draw_points if chart.kind == "line" else _draw_bars
    shapes = draw(chart, sheet, left, slot, lambda value: base - value * scale)
    for (name, category), (shape, x, y) in shapes.items():
        value = chart.values[name, category]
        if printed:
            written = sheet.text(x, y - 2, str(value), face, align=0.5, row=name or None, column=category)
            chart.value_boxes[name, category] = (written,)
        else:
            chart.value_boxes[name, category] = (shape, ticks[value])


Placed = dict[tuple[str, str], tuple[Box, float, float]]
"""The box of each shape, and the middle of its upper end in pixels."""


def _draw_bars(chart: Chart, sheet: Sheet, left: float, slot: float, to_y: Callable[[float], float]) -> Placed:
    placed: Placed = {}
    thin = slot * 0.8 / len(chart.series)
    for index, category in enumerate(chart.categories):
        for bar, name in enumerate(chart.series):
            x, y = left + slot * (index + 0.1) + bar * thin, to_y(chart.values[name, category])
            color = chart.colors.get(name or category, chart.colors.get("", ""))
            box = sheet.bar(x, y, x + thin - 1, to_y(0), "bar", color, row=name or None, column=category)
            placed[name, category] = box, x + thin / 2, y
            chart.color_boxes.setdefault(name or category, box)
    return placed


def _draw_points(chart: Chart, sheet: Sheet, left: float, slot: float, to_y: Callable[[float], float]) -> Placed:
    placed: Placed = {}
    size = max(6, round(sheet.print_size * 0.55))
    for name in chart.series:
        color = chart.colors[name]
        spots = [
            (left + slot * (index + 0.5), to_y(chart.values[name, category]))
            for index, category in enumerate(chart.categories)
        ]
        sheet.line(spots, sheet.palette.colors[color], width=2)
        for category, (x, y) in zip(chart.categories, spots, strict=True):
            box = sheet.figure(x, y, size, "point", color, row=name or None, column=category)
            placed[name, category] = box, x, y - size / 2
    return placed


def _fit_categories(
    rng: np.random.Generator, sheet: Sheet, face: AnyFace, width: float, least: float
) -> tuple[list[str], float]:
    """Neighboring categories of one kind whose labels fit side by side, and the width of each slot."""
    pools, gap = sheet.lexicon.categories, max(4, sheet.pitch + 1)
    for pool in sample(rng, pools, len(pools)):
        slot = max(least, *(face.width(name) + gap for name in pool))
        most = min(len(pool), int(width // slot))
        if most >= 2:
            count = between(rng, max(2, min(most, 8) * 2 // 3), min(most, 12))
            start = between(rng, 0, len(pool) - count)
            names = list(pool[start : start + count])
            return names, width / count
    names = list("AB")
    return names, width / len(names)


def _short(rng: np.random.Generator, face: AnyFace, names: tuple[str, ...], width: float) -> list[str]:
    """The names in random order, those that fit into ``width`` first."""
    shuffled = sample(rng, names, len(names))
    return sorted(shuffled, key=lambda name: face.width(name) > width)


def _shares(rng: np.random.Generator, count: int) -> list[int]:
    """Different whole percentages of at least 8 that sum to 100."""
    while True:
        cuts = np.sort(rng.integers(1, 100, count - 1))
        shares = np.diff([0, *cuts.tolist(), 100]).tolist()
        if min(shares) >= 8 and len(set(shares)) == count:
            return shares


def _radius(inside: Rectangle, legend: float) -> int:
    x0, y0, x1, y1 = inside
    return max(12, int(min(x1 - x0 - legend - 4, y1 - y0 - 4)) // 2)
