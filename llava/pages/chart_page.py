"""ChartPageQA: one chart, or four with running text below them."""

from collections.abc import Mapping

import numpy as np

from llava.pages import lexicon, names
from llava.pages.asking import Asker
from llava.pages.blocks import RasterFrame, draw_text
from llava.pages.chance import between, happens, pick, sample
from llava.pages.chart import Chart
from llava.pages.charts import TITLE_SIZE, draw_chart
from llava.pages.page import Box, Page, PageQuestion
from llava.pages.print_sheet import open_sheet
from llava.pages.sheet import Sheet
from llava.pages.style import PageStyle

_KINDS = ("bar", "grouped", "line", "pie")
_CAPTIONS = {"bar": "a bar chart", "grouped": "a grouped bar chart", "line": "a line chart", "pie": "a pie chart"}
_CAPTIONS |= {"lying": "a bar chart", "sideways": "a bar chart"}
_FREE_KINDS = (*_KINDS, "sideways", "sideways")
"""Of freely printed pages."""


def draw(rng: np.random.Generator, style: PageStyle) -> Page:
    """A page of charts; its questions are empty if an allowed kind has no single answer on it."""
    sheet = open_sheet(rng, style, pitch=style.pitch)
    layout = pick(rng, style.look.chart_layouts)
    edge = between(rng, 3, 4 + sheet.width // 40)
    free = style.looks is not None
    if (free and happens(rng, 0.6)) or (not free and style.panels == 1):
        charts = [_draw_alone(sheet, rng, style, layout, edge)]
    else:
        charts = _draw_panels(sheet, rng, style, layout, edge)
    return sheet.finish(ChartQuestions(rng, style, charts).collect())


def _kinds(style: PageStyle) -> tuple[str, ...]:
    return _KINDS if style.looks is None else _FREE_KINDS


def _draw_alone(sheet: Sheet, rng: np.random.Generator, style: PageStyle, layout: str, edge: int) -> Chart:
    """One chart over most of the page."""
    right, bottom, size = float(sheet.width - edge), float(sheet.height - edge), sheet.print_size
    if style.looks is None:
        title = pick(rng, lexicon.TOPICS) if happens(rng, 0.4) else ""
        size = min(size, style.side // 11)
    else:
        title = _fitting(sheet, names.title(rng), right - edge) if happens(rng, 0.7) else ""
        if happens(rng, 0.5):
            bottom = edge + (bottom - edge) * rng.uniform(0.45, 1.0)
    rectangle = (edge, edge, right, bottom)
    return draw_chart(sheet, rng, rectangle, layout=layout, title=title, kind=pick(rng, _kinds(style)), size=size)


def _draw_panels(sheet: Sheet, rng: np.random.Generator, style: PageStyle, layout: str, edge: int) -> list[Chart]:
    """Titled charts side by side, and text in the space below them."""
    gap, across = 14, 2
    if style.looks is not None and sheet.width < 26 * sheet.print_size:
        across = 1
    width = (sheet.width - 2 * edge - gap * (across - 1)) / across
    height = sheet.height * rng.uniform(0.27, 0.34)
    charts = []
    kinds = [*sample(rng, _kinds(style), 2), "grouped", pick(rng, ("grouped", "line", "bar"))]
    titles = sample(rng, lexicon.TOPICS, 4)
    if style.looks is not None:
        titles = list(dict.fromkeys(_fitting(sheet, names.title(rng), width) for _ in range(between(rng, 2, 4))))
        titles = titles[: 2 * across]
    for index, title in enumerate(titles):
        x, y = edge + (width + gap) * (index % across), edge + (height + gap) * (index // across)
        rectangle = (x, y, x + width, y + height)
        kind = kinds[index]
        charts.append(draw_chart(sheet, rng, rectangle, layout=layout, title=title, kind=kind, size=sheet.print_size))
    if style.looks is None:
        top = edge + 2 * (height + gap)
        draw_text(
            RasterFrame(sheet=sheet, rng=rng, left=edge, top=top, right=sheet.width - edge, bottom=sheet.height - edge)
        )
    return charts


def _fitting(sheet: Sheet, title: str, width: float) -> str:
    """As many of a title's words as stand side by side, and at least one."""
    face, words = sheet.face(round(TITLE_SIZE * sheet.print_size)), title.split()
    while len(words) > 1 and face.width(" ".join(words)) > width:
        words.pop()
    return " ".join(words)


class ChartQuestions:
    """Asks about charts, wherever they were drawn."""

    def __init__(self, rng: np.random.Generator, style: PageStyle, charts: list[Chart]) -> None:
        self.rng, self.charts, self.asker = rng, charts, Asker(rng, style)

    def collect(self) -> tuple[PageQuestion, ...]:
        return self.asker.collect(
            {
                "chart_value": self._ask_value,
                "chart_largest": self._ask_extreme,
                "chart_smallest": self._ask_extreme,
                "chart_difference": self._ask_difference,
                "chart_color": self._ask_color,
                "chart_by_color": self._ask_color,
                "describe": self._describe,
            }
        )

    def _describe(self, kind: str) -> PageQuestion:
        return self.asker.describe(kind, [_CAPTIONS[chart.kind] for chart in self.charts])

    def _choose(self) -> tuple[Chart, str, list[Box]]:
        """A chart, how a question says which one it means, and the box of the title that this names."""
        chart = pick(self.rng, self.charts)
        if len(self.charts) == 1 or chart.title_box is None:
            return chart, "", []
        return chart, f" in the chart {chart.title}", [chart.title_box]

    def _any(self, chart: Chart) -> tuple[str, str]:
        return pick(self.rng, chart.series), pick(self.rng, chart.categories)

    def _ask_value(self, kind: str) -> PageQuestion:
        chart, where, title = self._choose()
        key = self._any(chart)
        answer = f"{chart.values[key]}{chart.unit}"
        evidence = [*_named(chart, key), *title]
        return self.asker.ask(kind, answer, chart.value_boxes[key], evidence, entry=_entry(key), where=where)

    def _ask_extreme(self, kind: str) -> PageQuestion | None:
        chart, where, title = self._choose()
        series, category = self._any(chart)
        across_series = len(chart.series) > 1 and happens(self.rng, 0.5)
        if across_series:
            rivals, fixed, axis = {name: chart.values[name, category] for name in chart.series}, category, "series"
        else:
            rivals, fixed, axis = {name: chart.values[series, name] for name in chart.categories}, series, "category"
        answer = _extreme(rivals, largest=kind == "chart_largest")
        if answer is None:
            return None
        evidence = [chart.label_boxes[fixed]] if fixed else []
        scope = f" {'in' if across_series else 'for'} {fixed}" if fixed else ""
        boxes = [chart.label_boxes[answer]]
        return self.asker.ask(kind, answer, boxes, [*evidence, *title], axis=axis, scope=scope, where=where)

    def _ask_difference(self, kind: str) -> PageQuestion | None:
        chart, where, title = self._choose()
        first, second = self._any(chart), self._any(chart)
        difference = abs(chart.values[first] - chart.values[second])
        if difference == 0:
            return None
        boxes = [*chart.value_boxes[first], *chart.value_boxes[second]]
        evidence = dict.fromkeys([*_named(chart, first), *_named(chart, second), *title])
        parts = {"entry": _entry(first), "other": _entry(second), "where": where}
        return self.asker.ask(kind, f"{difference}{chart.unit}", boxes, list(evidence), **parts)

    def _ask_color(self, kind: str) -> PageQuestion | None:
        chart, where, title = self._choose()
        names = [name for name in chart.colors if name]
        if not names:
            return None
        name = pick(self.rng, names)
        color, label, sample_box = chart.colors[name], chart.label_boxes[name], chart.color_boxes[name]
        if kind == "chart_color":
            return self.asker.ask(kind, color, [sample_box], [label, *title], name=name, where=where)
        return self.asker.ask(kind, name, [label], [sample_box, *title], color=color, where=where)


def _entry(key: tuple[str, str]) -> str:
    series, category = key
    return f"{series} in {category}" if series else category


def _named(chart: Chart, key: tuple[str, str]) -> list[Box]:
    """The boxes of the names that ``_entry`` speaks of."""
    return [chart.label_boxes[name] for name in key if name]


def _extreme(rivals: Mapping[str, int], *, largest: bool) -> str | None:
    """The name with the largest or smallest value, None in a tie."""
    value = max(rivals.values()) if largest else min(rivals.values())
    names = [name for name, rival in rivals.items() if rival == value]
    return names[0] if len(names) == 1 else None
