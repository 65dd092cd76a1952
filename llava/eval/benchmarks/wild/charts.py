"""Charts that matplotlib draws of real tables, in its own styles: a look that nobody here drew.

Lengths are pixels: at 72 dots per inch they are matplotlib's points. Questions are those of ``chart_page``. Boxes are
what matplotlib tells of the artists it has drawn; that of print spans a line from ascent to descent, and its characters
are taken to be equally wide. The pixels also depend on the version of matplotlib.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from math import cos, pi, radians, sin
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from llava.eval.benchmarks.wild.plans import Paint, Plan, plan_chart
from llava.pages.chance import happens, pick
from llava.pages.chart_page import ChartQuestions
from llava.pages.page import RGB, Box, Mark, Page
from llava.pages.style import PageStyle

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Wedge
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_SHEETS = (
    "default", "classic", "bmh", "ggplot", "fivethirtyeight", "Solarize_Light2", "grayscale", "dark_background",
    "seaborn-v0_8-whitegrid", "seaborn-v0_8-darkgrid", "tableau-colorblind10",
)  # fmt: skip
"""Style sheets that come with matplotlib."""
_MIDDLE = 0.62
"""Of a pie's radius: where the middle of a wedge is."""
_DARK = 330
"""Print on a wedge is white if red, green and blue sum to less."""

_Key = tuple[str, str]
"""Series and category."""


def draw(rng: np.random.Generator, style: PageStyle) -> Page:
    """A chart; its questions are empty if its print collides, or an allowed kind has no single answer on it.

    Raises:
        ValueError: if vega_datasets is not installed, or the print of the style is too large for any chart.
    """
    from matplotlib import style as sheets

    plan = plan_chart(rng, style)
    with sheets.context(pick(rng, _SHEETS), after_reset=True):
        drawing = _Drawing(rng, style, plan)
        drawing.draw()
        drawing.note()
    pixels = np.asarray(drawing.canvas.buffer_rgba())[..., :3]
    return Page(
        image=Image.fromarray(np.ascontiguousarray(pixels)),
        paper=_rgb(drawing.figure.get_facecolor()),
        questions=ChartQuestions(rng, style, [plan.chart]).collect() if drawing.is_clear() else (),
        marks=tuple(drawing.marks),
    )


class _Drawing:
    """One chart on a figure of its own; what it shows is noted in the plan's chart once matplotlib has drawn it."""

    def __init__(self, rng: np.random.Generator, style: PageStyle, plan: Plan) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.rng, self.side, self.plan, self.chart = rng, style.side, plan, plan.chart
        self.figure = Figure(figsize=(self.side / 72, self.side / 72), dpi=72, layout="constrained")
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_subplot()
        self.marks: list[Mark] = []
        self._extents: dict[_Key, Callable[[], Bbox]] = {}
        """Of bars, points and wedges."""
        self._values: dict[_Key, Text] = {}
        self._labels: dict[str, Text] = {}
        """Of categories."""
        self._ticks: dict[int, Text] = {}
        self._legend: dict[str, tuple[Any, Text]] = {}
        """Swatch and name."""

    def draw(self) -> None:
        """Draw everything, without asking where it comes to stand."""
        if self.chart.title:
            self.axes.set_title(self.chart.title, fontproperties=self._print(self.plan.title_scale))
        if self.chart.kind == "pie":
            self._draw_pie()
        else:
            self._draw_scales()
            (self._draw_lines if self.chart.kind == "line" else self._draw_bars)()
        self.canvas.draw()

    def note(self) -> None:
        """Read off where everything stands, into the marks and the chart."""
        chart, shape = self.chart, {"pie": "wedge", "line": "point"}.get(self.chart.kind, "bar")
        if chart.title:
            chart.title_box = self._note_text(self.axes.title)
        ticks = {value: self._note_text(text) for value, text in self._ticks.items()}
        chart.label_boxes |= {name: self._note_text(text, ("", name)) for name, text in self._labels.items()}
        for name, (swatch, text) in self._legend.items():
            key = ("", name) if shape == "wedge" else (name, "")
            chart.color_boxes[name] = self._note(swatch.get_window_extent(), self._paint(key), key, shape="swatch")
            chart.label_boxes[name] = self._note_text(text, key)
        for key, extent in self._extents.items():
            box = self._note(extent(), self._paint(key), key, shape=shape)
            chart.color_boxes.setdefault(key[0] or key[1], box)
            if key in self._values:
                chart.value_boxes[key] = (self._note_text(self._values[key], key),)
            else:
                near = [ticks[tick] for tick in ticks if abs(tick - chart.values[key]) < self.plan.step]
                chart.value_boxes[key] = (box, *near)

    def is_clear(self) -> bool:
        """Whether everything lies on the page and no print meets other print."""
        texts = [mark.box for mark in self.marks if mark.text]
        inside = all(min(mark.box) >= 0 and max(mark.box) <= 1 for mark in self.marks)
        return inside and not any(_meet(first, second) for first, second in combinations(texts, 2))

    def _paint(self, key: _Key) -> Paint:
        return self.plan.paints[next(name for name in (*key, "") if name in self.plan.paints)]

    def _print(self, scale: float = 1.0) -> "FontProperties":
        from matplotlib.font_manager import FontProperties

        return FontProperties(fname=self.plan.font, size=self.plan.face.size * scale)

    def _draw_scales(self) -> None:
        """Both axes with their labels."""
        chart, plan, lying = self.chart, self.plan, self.chart.kind == "lying"
        ticks = range(plan.low, plan.high + 1, plan.step)
        names_axis, ticks_axis = (self.axes.xaxis, self.axes.yaxis)[:: -1 if lying else 1]
        names_axis.set_ticks(range(len(chart.categories)), labels=chart.categories, fontproperties=self._print())
        ticks_axis.set_ticks(ticks, labels=[str(tick) for tick in ticks], fontproperties=self._print())
        self._labels = dict(zip(chart.categories, names_axis.get_ticklabels(), strict=True))
        self._ticks = dict(zip(ticks, ticks_axis.get_ticklabels(), strict=True))
        under, above = 0.1 if chart.kind == "line" else 0, 0.6 if plan.printed else 0.1
        ends = plan.low - plan.step * under, plan.high + plan.step * above
        slots = -0.6, len(chart.categories) - 0.4
        # The first category of lying bars stands on top.
        self.axes.set(xlim=ends if lying else slots, ylim=slots[::-1] if lying else ends)
        self.axes.set_axisbelow(True)
        if not plan.printed and happens(self.rng, 0.5):
            ticks_axis.grid(True)

    def _draw_bars(self) -> None:
        chart, thick = self.chart, 0.8 / len(self.chart.series)
        draw = self.axes.barh if chart.kind == "lying" else self.axes.bar
        bars = {}
        for place, name in enumerate(chart.series):
            keys = [(name, category) for category in chart.categories]
            spots = [index + thick * (place - (len(chart.series) - 1) / 2) for index in range(len(keys))]
            group = draw(spots, [chart.values[key] for key in keys], thick, color=[self._paint(key) for key in keys])
            self._extents |= {key: bar.get_window_extent for key, bar in zip(keys, group, strict=True)}
            bars[name] = group[0]
            if self.plan.printed:
                words = [str(chart.values[key]) for key in keys]
                texts = self.axes.bar_label(group, labels=words, padding=2, fontproperties=self._print())
                self._values |= dict(zip(keys, texts, strict=True))
        self._draw_legend(bars)

    def _draw_lines(self) -> None:
        chart, size, marker = self.chart, max(6, round(self.plan.face.size * 0.55)), pick(self.rng, "os^D")
        lines = {}
        for name in chart.series:
            points = [(place, chart.values[name, category]) for place, category in enumerate(chart.categories)]
            paint = self._paint((name, ""))
            (lines[name],) = self.axes.plot(*zip(*points, strict=True), color=paint, marker=marker, ms=size, lw=2)
            for category, point in zip(chart.categories, points, strict=True):
                self._extents[name, category] = partial(self._around, point, size / 2)
        self._draw_legend(lines)

    def _draw_pie(self) -> None:
        chart, beside = self.chart, not self.plan.legend
        wedges, names, shares = self.axes.pie(
            [chart.values["", name] for name in chart.categories],
            labels=chart.categories if beside else [""] * len(chart.categories),
            colors=[self.plan.paints[name] for name in chart.categories],
            autopct="%d%%",
            pctdistance=_MIDDLE,
            startangle=float(self.rng.integers(360)),
            textprops={"fontproperties": self._print()},
        )
        for name, wedge, share in zip(chart.categories, wedges, shares, strict=True):
            # What wedges are drawn from is rounded, and need not add up to a hundred.
            share.set_text(f"{chart.values['', name]}%")
            share.set_color("white" if sum(_rgb(wedge.get_facecolor())) < _DARK else "black")
            self._values["", name] = share
            self._extents["", name] = partial(self._middle, wedge)
        if beside:
            self._labels = dict(zip(chart.categories, names, strict=True))
        self._draw_legend(dict(zip(chart.categories, wedges, strict=True)))

    def _middle(self, wedge: "Wedge") -> "Bbox":
        """A square around a wedge's middle, because wedges' bounds overlap."""
        turn, half = radians((wedge.theta1 + wedge.theta2) / 2), radians((wedge.theta2 - wedge.theta1) / 2)
        (start, _), (end, _) = self.axes.transData.transform([(0, 0), (wedge.r, 0)])
        place = _MIDDLE * wedge.r * cos(turn), _MIDDLE * wedge.r * sin(turn)
        return self._around(place, (end - start) * min(0.28, 0.4 * sin(min(half, pi / 2))))

    def _around(self, place: tuple[float, float], reach: float) -> "Bbox":
        """A square around a place of the data that is no artist of its own."""
        from matplotlib.transforms import Bbox

        return Bbox([self.axes.transData.transform(place)] * 2).padded(reach)

    def _draw_legend(self, artists: Mapping[str, Any]) -> None:
        """Outside the axes, where the plan has one."""
        if not self.plan.legend:
            return
        names = list(artists)
        legend = self.figure.legend(
            list(artists.values()), names, loc=self.plan.legend, ncols=self.plan.legend_columns, prop=self._print(),
            handlelength=1.2, handletextpad=0.4, columnspacing=1.0, borderpad=0.4, borderaxespad=0.3,
        )  # fmt: skip
        self._legend = dict(zip(names, zip(legend.legend_handles, legend.get_texts(), strict=True), strict=True))

    def _note_text(self, text: "Text", key: _Key = ("", "")) -> Box:
        return self._note(text.get_window_extent(), text.get_color(), key, text=text.get_text())

    def _note(self, extent: "Bbox", paint: Any, key: _Key, *, text: str = "", shape: str = "") -> Box:
        """Record a mark; matplotlib's pixels count from the bottom."""
        x0, y0, x1, y1 = (float(place) / self.side for place in extent.extents)
        box, (row, column) = (x0, 1 - y1, x1, 1 - y0), key
        edges = tuple(np.linspace(x0, x1, len(text) + 1).tolist()) if text else ()
        color = self._name(paint)
        self.marks.append(
            Mark(text=text, shape=shape, color=color, box=box, edges=edges, row=row or None, column=column or None)
        )
        return box

    def _name(self, paint: Any) -> str:
        """The color of the palette that is nearest; of a named hue, that hue."""
        rgb, colors = _rgb(paint), self.plan.palette.colors
        return min(colors, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, colors[name], strict=True)))


def _rgb(paint: Any) -> RGB:
    from matplotlib.colors import to_rgb

    red, green, blue = (round(255 * part) for part in to_rgb(paint))
    return red, green, blue


def _meet(first: Box, second: Box) -> bool:
    return max(first[0], second[0]) < min(first[2], second[2]) and max(first[1], second[1]) < min(first[3], second[3])
