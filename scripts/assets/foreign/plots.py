"""Charts as matplotlib draws them."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

from scripts.assets.foreign.charts import (
    HUES,
    NO_SOURCE,
    Chart,
    ask_colors,
    ask_difference,
    ask_extremes,
    ask_title,
    ask_value,
    plan_chart,
)
from scripts.assets.foreign.draft import Ask, Draft, absent_ask, field_ask
from scripts.assets.foreign.words import COUNTRIES, Words

_FONTS = ("DejaVu Sans", "DejaVu Serif", "STIXGeneral", "DejaVu Sans Mono")
"""Those that come with matplotlib, so that it draws the same everywhere."""


def _drawn(
    words: Words,
    size: tuple[int, int],
    sheet: str,
    paint: Callable[[Any], None],
    sizes: tuple[int, ...] = (11, 14, 18),
) -> Callable[[], bytes]:
    """What draws a figure of this many points, which are pixels of the view, in one of matplotlib's own styles."""
    print_size, font = words.choice(sizes), words.choice(_FONTS)

    def draw() -> bytes:
        import matplotlib
        from matplotlib import style
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        with style.context(sheet, after_reset=True):
            matplotlib.rcParams.update(
                {"pdf.fonttype": 42, "font.family": [font, "DejaVu Sans"], "font.size": print_size}
            )
            for part in ("axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"):
                matplotlib.rcParams[part] = print_size
            room = ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.2)
            figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout=room)
            paint(figure.add_subplot())
            out = BytesIO()
            figure.savefig(out, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
        return out.getvalue()

    return draw


def _paints(chart: Chart) -> list[str]:
    return [HUES[chart.hues[name]] for name in (chart.names if "" in chart.values else chart.values)]


def _ticks(chart: Chart) -> list[int]:
    return list(range(0, chart.step * 13, chart.step))


def bars(words: Words) -> Draft:
    """Upright bars with their values on them."""
    chart = plan_chart(words, names=5)

    def paint(axes: Any) -> None:
        found = axes.bar(chart.names, chart.one, color=_paints(chart), width=0.6)
        axes.bar_label(found, padding=3)
        axes.set(title=chart.title, ylabel=chart.unit)
        axes.margins(y=0.15)

    asks = (
        *ask_value(words, chart, printed=True),
        *ask_extremes(words, chart),
        ask_difference(words, chart),
        *ask_colors(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(draw=_drawn(words, (672, 500), words.choice(("default", "seaborn-v0_8-whitegrid")), paint), asks=asks)


def lying_bars(words: Words) -> Draft:
    """Lying bars that end on the lines of a grid, without values."""
    chart = plan_chart(words, names=6, on_ticks=True)
    hue = words.choice(sorted(HUES.values()))

    def paint(axes: Any) -> None:
        axes.barh(chart.names, chart.one, color=hue, height=0.55)
        axes.set(title=chart.title, xlabel=chart.unit, xticks=_ticks(chart))
        axes.tick_params(axis="x", labelrotation=90)
        axes.grid(axis="x")
        axes.set_axisbelow(True)

    asks = (
        *ask_value(words, chart, printed=False, number=3),
        *ask_extremes(words, chart),
        ask_title(chart),
        field_ask("In which unit are the values given?", chart.unit),
        NO_SOURCE,
    )
    return Draft(draw=_drawn(words, (600, 600), words.choice(("ggplot", "bmh")), paint), asks=asks)


def stacked(words: Words) -> Draft:
    """Bars in pieces with a value in each, on a dark ground."""
    chart = plan_chart(words, names=4, series=3)

    def paint(axes: Any) -> None:
        floor = [0] * len(chart.names)
        for line, values in chart.values.items():
            found = axes.bar(chart.names, values, bottom=floor, color=HUES[chart.hues[line]], label=line, width=0.7)
            labels = axes.bar_label(found, label_type="center", fontweight="bold")
            for text in labels:
                text.set_bbox({"facecolor": "black", "edgecolor": "none", "pad": 1.5})
                text.set_color("white")
            floor = [below + value for below, value in zip(floor, values, strict=True)]
        axes.set(title=chart.title, ylabel=chart.unit)
        axes.margins(y=0.25)
        axes.legend(ncols=3, loc="upper center")

    asks = (
        *ask_value(words, chart, printed=True),
        *ask_extremes(words, chart),
        *ask_colors(words, chart),
        ask_title(chart),
        absent_ask("What is the value for East?", "East"),
    )
    return Draft(draw=_drawn(words, (560, 672), "dark_background", paint), asks=asks)


def lines(words: Words) -> Draft:
    """Two lines with points on the lines of a grid."""
    chart = plan_chart(words, names=5, series=2, on_ticks=True)

    def paint(axes: Any) -> None:
        for (line, values), marker in zip(chart.values.items(), "os", strict=True):
            axes.plot(chart.names, values, color=HUES[chart.hues[line]], marker=marker, label=line, lw=3, ms=9)
        axes.set(title=chart.title, ylabel=chart.unit, yticks=_ticks(chart))
        axes.grid(True)
        axes.legend(loc="upper center", ncols=2)

    asks = (
        *ask_value(words, chart, printed=False),
        *ask_extremes(words, chart),
        *ask_colors(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(draw=_drawn(words, (672, 560), words.choice(("fivethirtyeight", "default")), paint), asks=asks)


def pie(words: Words) -> Draft:
    """A pie with names beside its slices and shares in them."""
    chart = plan_chart(words, names=5)
    while True:
        cuts = sorted(words.sample(range(8, 93), 4))
        shares = [after - before for before, after in zip([0, *cuts], [*cuts, 100], strict=True)]
        if min(shares) >= 8 and len(set(shares)) == 5:
            break
    first, second = words.sample(range(5), 2)
    shown = [f"{share} %" for share in shares]

    def paint(axes: Any) -> None:
        made = axes.pie(
            shares,
            labels=chart.names,
            colors=_paints(chart),
            startangle=words.randint(0, 359),
            autopct=lambda share: f"{share:.0f} %",
        )
        for text in made[2]:
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        axes.set_title(chart.title)

    largest = chart.names[shares.index(max(shares))]
    asks = (
        *(
            Ask(
                kind="chart_value",
                question=f"What share does {chart.names[place]} have?",
                answer=shown[place],
                also=(shown[place].replace(" ", ""), str(shares[place])),
                beside=(chart.names[place],),
            )
            for place in (first, second)
        ),
        Ask(kind="chart_largest", question=f"Which {chart.thing} has the largest share?", answer=largest),
        *ask_colors(words, chart),
        ask_title(chart),
        absent_ask("What share do others have?", "others", "other"),
    )
    return Draft(draw=_drawn(words, (600, 560), "default", paint, (24, 28)), asks=asks)


def scatter(words: Words) -> Draft:
    """Points with names at them, on two scales of whole tens."""
    names = words.sample(COUNTRIES, 6)
    across, up = words.values(6, 10, 80, 10), words.values(6, 10, 90, 10)
    hue, (what, other) = (
        words.choice(sorted(HUES.values())),
        words.choice((("Price", "Quality"), ("Speed", "Range"), ("Risk", "Gain"))),
    )
    first, second = words.sample(range(6), 2)

    def paint(axes: Any) -> None:
        axes.scatter(across, up, s=110, color=hue)
        for name, x, y in zip(names, across, up, strict=True):
            axes.annotate(name, (x, y), xytext=(8, 7), textcoords="offset points")
        axes.set(title=f"{what} and {other}", xlabel=what, ylabel=other, xlim=(0, 105), ylim=(0, 105))
        axes.set_xticks(range(0, 101, 10))
        axes.set_yticks(range(0, 101, 10))
        axes.grid(True, alpha=0.5)

    by_x, by_y = (partial(max, key=lambda place, values=values: values[place]) for values in (across, up))
    asks = (
        Ask(
            kind="chart_value",
            question=f"What is the {what.lower()} of {names[first]}?",
            answer=str(across[first]),
            beside=(names[first],),
            printed=False,
        ),
        Ask(
            kind="chart_value",
            question=f"What is the {other.lower()} of {names[second]}?",
            answer=str(up[second]),
            beside=(names[second],),
            printed=False,
        ),
        Ask(
            kind="chart_largest",
            question=f"Which country has the highest {what.lower()}?",
            answer=names[by_x(range(6))],
        ),
        Ask(
            kind="chart_largest",
            question=f"Which country has the highest {other.lower()}?",
            answer=names[by_y(range(6))],
        ),
        Ask(kind="rows", question="How many points are drawn?", answer="6", printed=False),
        absent_ask("In which year was it measured?", "year"),
    )
    return Draft(
        draw=_drawn(words, (640, 640), words.choice(("seaborn-v0_8-darkgrid", "Solarize_Light2")), paint), asks=asks
    )
