"""What a chart says and where, and the parts that charts of several kinds share."""

from dataclasses import dataclass, field

import numpy as np

from llava.pages.chance import happens, pick, sample
from llava.pages.page import HUES, Box
from llava.pages.sheet import AnyFace, Sheet

Rectangle = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


@dataclass(kw_only=True)
class Chart:
    """What a chart says and where. A chart of one series calls it "" and its entries are the categories."""

    kind: str
    title: str = ""
    title_box: Box | None = None
    series: list[str]
    categories: list[str]
    values: dict[tuple[str, str], int] = field(default_factory=dict)
    """By series and category."""
    unit: str = ""
    """What follows a value in print."""
    colors: dict[str, str] = field(default_factory=dict)
    """Of the entries that a color stands for: series, or the categories of a single one."""
    label_boxes: dict[str, Box] = field(default_factory=dict)
    """Of the names of categories and series."""
    color_boxes: dict[str, Box] = field(default_factory=dict)
    """Of the swatch, bar or wedge that shows an entry's color."""
    value_boxes: dict[tuple[str, str], tuple[Box, ...]] = field(default_factory=dict)
    """The printed value; without one, the bar or point and the tick label it reaches."""

    def choose_values(self, rng: np.random.Generator, step: int, num_ticks: int, *, printed: bool) -> None:
        """A value for every series in every category, different within a category: any up to the last tick where
        values are printed, else one that a tick names."""
        for category in self.categories:
            count = len(self.series)
            if printed:
                heights = (rng.permutation(step * num_ticks - 1)[:count] + 1).tolist()
            else:
                heights = ((rng.permutation(num_ticks)[:count] + 1) * step).tolist()
            self.values |= {(name, category): height for name, height in zip(self.series, heights, strict=True)}


def draw_legend(chart: Chart, sheet: Sheet, face: AnyFace, inside: Rectangle, layout: str) -> Rectangle:
    """Draw the legend at the side that the layout names, if there is room, and return what it leaves."""
    x0, y0, x1, y1 = inside
    swatch, line = round(face.size * 0.7), round(face.size * 1.4)
    widths = [swatch + 4 + face.width(name) + face.size for name in chart.series]
    beside = layout in ("legend right", "legend left") and max(widths) < 0.3 * (x1 - x0)
    if beside:
        left = x0 if layout == "legend left" else x1 - max(widths) + face.size
        spots = [(left, y0 + face.size * 2 + line * index) for index in range(len(chart.series))]
        inside = (x0 + max(widths), y0, x1, y1) if layout == "legend left" else (x0, y0, x1 - max(widths), y1)
    else:
        below = layout in ("legend bottom", "legend left")
        starts = (x0 + x1 - sum(widths) + face.size) / 2 + np.cumsum([0, *widths[:-1]])
        spots = [(float(start), y1 - 3 if below else y0 + face.size) for start in starts]
        inside = (x0, y0, x1, y1 - line) if below else (x0, y0 + line, x1, y1)
    for name, (x, wanted) in zip(chart.series, spots, strict=True):
        base = sheet.base_line(wanted)
        chart.color_boxes[name] = sheet.bar(x, base - swatch, x + swatch, base, "swatch", chart.colors[name], row=name)
        chart.label_boxes[name] = sheet.text(x + swatch + 4, base, name, face, row=name)
    return inside


def color_single(chart: Chart, rng: np.random.Generator) -> None:
    """One color for all marks, or for up to eight bars one each."""
    if chart.kind == "bar" and len(chart.categories) <= len(HUES) and happens(rng, 0.7):
        chart.colors = dict(zip(chart.categories, sample(rng, HUES, len(chart.categories)), strict=True))
    else:
        chart.colors = {"": pick(rng, HUES)}
