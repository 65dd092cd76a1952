"""What a chart of a real table shows, chosen so that its print fits. Lengths are pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, pi, sin
from pathlib import Path
from typing import Literal

import numpy as np

from llava.eval.benchmarks.wild.tables import Records, real_records
from llava.pages.chance import between, happens, pick, sample
from llava.pages.chart import Chart
from llava.pages.glyphs import Face, load_face
from llava.pages.looks import Palette, font_path
from llava.pages.page import HUES
from llava.pages.style import PageStyle

Paint = str | tuple[float, float, float]
"""A color as matplotlib takes it: a place in the cycle of its style, or red, green and blue in [0, 1]."""
Spot = Literal["", "outside upper center", "outside lower center", "outside right upper"]
"""Where a legend stands, as matplotlib calls it; nowhere if empty."""

_KINDS = ("bar", "lying", "grouped", "line", "pie")
_STEPS = tuple(digit * 10**power for power in range(6) for digit in (2, 4, 10))
"""Distances of ticks; half of each is whole."""
_SPOTS: tuple[Spot, ...] = ("outside upper center", "outside lower center", "outside right upper")
_LARGE = 300
"""Smaller pages have no room for a legend on the right."""
_LEAST_HEIGHT = 5
"""Of axes, in sizes of print."""
_CYCLE = 4
"""So many colors differ in every style's cycle."""
_LEAST_PART = 0.03
"""Of the largest value: shorter bars may show no ink."""
_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A chart that has no place on the page yet, and how it is to be drawn."""

    chart: Chart
    """Its kind is one of bar, lying (bars to the right), grouped, line and pie, whose values are percentages."""
    font: Path
    face: Face
    palette: Palette
    paints: Mapping[str, Paint]
    """By series, or where there is but one by category; by "" for all. Named hues are in ``chart.colors`` as well."""
    printed: bool
    """Whether values stand at bars or in wedges; otherwise they are whole halves of a step."""
    title_scale: float
    legend: Spot
    legend_columns: int
    low: int = 0
    high: int = 0
    """The outermost ticks."""
    step: int = 1
    """Distance of ticks."""


def plan_chart(rng: np.random.Generator, style: PageStyle) -> Plan:
    """A chart of a real table, of each kind equally often as far as there is room.

    Raises:
        ValueError: if vega_datasets is not installed, or the print of the style is too large for any chart.
    """
    charted = [records for records in real_records() if records.charted]
    for kind in sample(rng, _KINDS, len(_KINDS)):
        for _ in range(_ATTEMPTS):
            planner, records = _Planner(rng, style), pick(rng, charted)
            plan = planner.plan_pie(records) if kind == "pie" else planner.plan_scaled(records, kind)
            if plan is not None:
                return plan
    raise ValueError(f"print of {style.print_size[0]} pixels leaves no room for charts; raise side above {style.side}")


class _Planner:
    def __init__(self, rng: np.random.Generator, style: PageStyle) -> None:
        self.rng, self.side = rng, style.side
        self.size = min(between(rng, *style.print_size), style.side // 11)
        self.palette = pick(rng, style.look.palettes)
        self.font = font_path(pick(rng, style.look.fonts))
        self.face = load_face(self.font, self.size)
        self.spot: Spot = pick(rng, _SPOTS if style.side >= _LARGE else _SPOTS[:2])

    def plan_pie(self, records: Records) -> Plan | None:
        """One row of a table whose rows are wholes; None where a wedge is too small for its print."""
        label = pick(self.rng, list(records.rows))
        counts = dict(zip(records.columns, map(float, records.rows[label]), strict=True)) if records.summed else {}
        percents = {name: round(100 * count / sum(counts.values())) for name, count in counts.items() if count}
        if len(percents) < 2:
            return None
        names = list(percents)
        legend: Spot = "" if self._widest(names) < 0.2 * self.side and happens(self.rng, 0.5) else self.spot
        width, height = self._room(legend, names)
        margin = 1.5 * self.size if legend else self._widest(names)
        radius = 0.9 * (min(width, height) / 2 - margin)
        if 1.2 * radius * sin(pi * min(*percents.values(), 50) / 100) < self.face.width("00%") + 4:
            return None
        chart = Chart(kind="pie", series=[""], categories=names, unit="%")
        chart.values = {("", name): percent for name, percent in percents.items()}
        return self._finish(chart, f"{records.title}, {label}", width, legend, printed=True)

    def plan_scaled(self, records: Records, kind: str) -> Plan | None:
        """Some series and neighboring categories, of columns and rows or the other way round; None where none fit."""
        cells = {
            (column, label): float(cell)
            for label, row in records.rows.items()
            for column, cell in zip(records.columns, row, strict=True)
            if column in records.charted
        }
        if kind != "line" and happens(self.rng, 0.3):
            cells = {(label, column): value for (column, label), value in cells.items()}
        pools = [list(dict.fromkeys(names)) for names in zip(*cells, strict=True)]
        fewest, most = {"grouped": (2, 3), "line": (1, 3)}.get(kind, (1, 1))
        series = sample(self.rng, pools[0], between(self.rng, fewest, most))
        legend: Spot = self.spot if len(series) > 1 else ""
        categories, span, height = self._fit(kind, series, pools[1], legend, max(cells.values()))
        if len(series) < fewest or len(categories) < 2 or height < _LEAST_HEIGHT * self.size:
            return None
        title = records.title if len(records.columns) == 1 or len(series) > 1 else f"{records.title}: {series[0]}"
        names = series if len(series) > 1 else [""]
        chart = Chart(kind=kind, series=names, categories=categories)
        values = {(name, c): cells[s, c] for name, s in zip(names, series, strict=True) for c in categories}
        return self._scale(chart, values, title, legend, span, height)

    def _fit(
        self, kind: str, series: list[str], pool: list[str], legend: Spot, top: float
    ) -> tuple[list[str], float, float]:
        """Neighboring categories whose names have room, none if not even two have, and the size of the axes."""
        names = [name for name in pool if self.face.width(name) < 0.36 * self.side]
        width, height = self._room(legend, series)
        height -= 1.5 * self.size
        if len(names) < 2:
            return [], width, height
        if kind == "lying":
            width -= self._widest(names) + self.size
            most = height / self.size / 1.7
        else:
            width -= self.face.width(f"{top:.0f}") + 1.5 * self.size
            most = width / max(self._widest(names) + 0.6 * self.size, 0.8 * self.size * len(series))
        largest = min(int(most), len(names), 12)
        count = between(self.rng, min(largest, max(2, largest * 2 // 3)), max(largest, 0))
        start = between(self.rng, 0, len(names) - count)
        return names[start : start + count], width, height

    def _scale(
        self,
        chart: Chart,
        values: Mapping[tuple[str, str], float],
        title: str,
        legend: Spot,
        width: float,
        height: float,
    ) -> Plan | None:
        """Whole values on an axis with ticks; None where all are the same, a bar vanishes or points hide each other."""
        top, lying, line = max(values.values()), chart.kind == "lying", chart.kind == "line"
        printed_width = self.face.width(f"{top:.0f}") + 3
        thick = 0.8 * width / len(chart.categories) / len(chart.series)
        printed = not line and (lying or thick > printed_width) and happens(self.rng, 0.5)
        num_ticks = width / (1.6 * printed_width) if lying else height / (2.2 * self.size)
        step = next(step for step in _STEPS if step * max(2, min(7, int(num_ticks))) >= top)
        grain = 1 if printed else step // 2
        chart.values = {key: grain * round(value / grain) for key, value in values.items()}
        low, high = min(chart.values.values()), max(chart.values.values())
        hidden = line and any(
            len({chart.values[name, category] for name in chart.series}) < len(chart.series)
            for category in chart.categories
        )
        if low == high or hidden or (not line and low <= _LEAST_PART * high):
            return None
        low = step * (low // step) if line else 0
        ticks = {"low": low, "high": step * ceil(high / step), "step": step}
        return self._finish(chart, title, width, legend, printed=printed, **ticks)

    def _finish(self, chart: Chart, title: str, width: float, legend: Spot, *, printed: bool, **ticks: int) -> Plan:
        """The title in the largest print that fits above the axes, if any does, and the colors."""
        scale = next((scale for scale in (1.2, 1.0) if scale * self.face.width(title) < width), 0)
        chart.title = title if scale else ""
        names = chart.series if len(chart.series) > 1 else chart.categories
        return Plan(
            chart=chart, font=self.font, face=self.face, palette=self.palette, paints=self._paint(chart, names),
            printed=printed, title_scale=scale, legend=legend, legend_columns=self._legend_columns(legend, names),
            **ticks,
        )  # fmt: skip

    def _paint(self, chart: Chart, names: list[str]) -> dict[str, Paint]:
        """Named hues, or colors of the cycle."""
        if len(chart.series) == 1 and chart.kind != "pie":
            alike = chart.kind == "line" or len(names) > len(HUES) or happens(self.rng, 0.6)
            names = [""] if alike else names
        if len(names) <= _CYCLE and happens(self.rng, 0.4):
            return {name: f"C{place}" for place, name in enumerate(names)}
        chart.colors = dict(zip(names, sample(self.rng, HUES, len(names)), strict=True))
        tones = self.palette.colors
        return {name: (tones[h][0] / 255, tones[h][1] / 255, tones[h][2] / 255) for name, h in chart.colors.items()}

    def _room(self, legend: Spot, names: list[str]) -> tuple[float, float]:
        """The width and height that a title and a legend leave."""
        width, height = float(self.side), self.side - 2.5 * self.size
        if "right" in legend:
            width -= self._widest(names) + 3 * self.size
        elif legend:
            height -= 1.7 * self.size * ceil(len(names) / self._legend_columns(legend, names))
        return width, height

    def _legend_columns(self, legend: Spot, names: list[str]) -> int:
        fits = sum(self.face.width(name) + 2.8 * self.size for name in names) < self.side
        return len(names) if fits and "right" not in legend else 1

    def _widest(self, names: list[str]) -> int:
        return max(map(self.face.width, names))
