"""Charts as Vega-Lite and gnuplot draw them; their points are pixels of the view."""

import json
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
from scripts.assets.foreign.draft import Ask, Draft, absent_ask, cell_ask, field_ask
from scripts.assets.foreign.words import MONTHS, TOWNS, Words


def _vega(
    words: Words, chart: Chart, layers: list[dict[str, Any]], *, width: int, height: int, ground: str = "white"
) -> dict[str, Any]:
    """The source of a chart: rows of series, name and value, and marks that show them."""
    ink, size = ("#eeeeee", words.choice((15, 17))) if ground != "white" else ("#222222", words.choice((13, 15, 17)))
    rows = [
        {"series": line, "name": name, "value": value}
        for line, values in chart.values.items()
        for name, value in zip(chart.names, values, strict=True)
    ]
    font = words.choice(("Lato", "PT Sans", "Vollkorn", "Open Sans"))
    label = {
        "labelFontSize": size,
        "titleFontSize": size,
        "labelColor": ink,
        "titleColor": ink,
        "labelFont": font,
        "titleFont": font,
    }
    return {
        "data": {"values": rows},
        "width": width,
        "height": height,
        "background": ground,
        "padding": 18,
        "title": {
            "text": chart.title,
            "fontSize": size + 4,
            "font": font,
            "color": ink,
            "anchor": words.choice(("start", "middle")),
        },
        "layer": layers,
        "config": {
            "axis": {**label, "labelAngle": 0, "gridColor": "#bbbbbb", "labelLimit": 300},
            "legend": label,
            "header": label,
            "text": {"fontSize": size, "font": font},
        },
    }


def _scale(chart: Chart) -> dict[str, Any]:
    return {"domain": list(chart.hues), "range": [HUES[hue] for hue in chart.hues.values()]}


def _value(chart: Chart, **more: Any) -> dict[str, Any]:
    ticks = {"values": list(range(0, chart.step * 13, chart.step))}
    return {"field": "value", "type": "quantitative", "title": chart.unit, "axis": ticks, **more}


def _names(**more: Any) -> dict[str, Any]:
    return {"field": "name", "type": "nominal", "sort": None, "title": None, **more}


def _source(spec: dict[str, Any]) -> dict[str, str]:
    return {
        "source": json.dumps({"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec}, ensure_ascii=False)
    }


def vega_bars(words: Words) -> Draft:
    """Lying bars with their values behind them."""
    chart = plan_chart(words, names=6)
    across = _value(chart, axis=None)
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "color": HUES[words.choice(sorted(HUES))]}, "encoding": {"y": _names(), "x": across}},
        {
            "mark": {"type": "text", "align": "left", "dx": 6},
            "encoding": {"y": _names(), "x": across, "text": {"field": "value"}},
        },
    ]
    asks = (
        *ask_value(words, chart, printed=True),
        *ask_extremes(words, chart),
        ask_difference(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(words=_source(_vega(words, chart, layers, width=420, height=330)), asks=asks)


def vega_groups(words: Words) -> Draft:
    """Bars in groups that end on lines of a grid."""
    chart = plan_chart(words, names=4, series=2, on_ticks=True)
    marks = {
        "x": _names(),
        "y": _value(chart),
        "xOffset": {"field": "series", "sort": None},
        "color": {"field": "series", "title": None, "scale": _scale(chart), "legend": {"orient": "top"}},
    }
    asks = (
        *ask_value(words, chart, printed=False, number=3),
        *ask_extremes(words, chart),
        *ask_colors(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(
        words=_source(_vega(words, chart, [{"mark": "bar", "encoding": marks}], width=480, height=440)), asks=asks
    )


def vega_dark_lines(words: Words) -> Draft:
    """Lines with their values at the points of one, on a dark ground."""
    chart = plan_chart(words, names=5, series=3)
    spare = next(hue for hue in sorted(HUES) if hue not in ("black", *chart.hues.values()))
    chart.hues.update({name: spare for name, hue in chart.hues.items() if hue == "black"})  # which would not show
    lines = {
        "x": _names(scale={"type": "point", "padding": 0.5}),
        "y": _value(chart),
        "color": {"field": "series", "title": None, "scale": _scale(chart)},
    }
    first = next(iter(chart.values))
    only = [{"filter": f"datum.series == '{first}'"}]
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "point": {"size": 90}, "strokeWidth": 3}, "encoding": lines},
        {
            "transform": only,
            "mark": {"type": "text", "dy": -16, "color": "white", "fontWeight": "bold"},
            "encoding": {"x": lines["x"], "y": lines["y"], "text": {"field": "value"}},
        },
    ]
    shown = Chart(
        title=chart.title,
        unit=chart.unit,
        what=chart.what,
        thing=chart.thing,
        names=chart.names,
        values={first: chart.values[first]},
        hues=chart.hues,
        step=chart.step,
    )
    asks = (
        *ask_value(words, shown, printed=True),
        *ask_extremes(words, shown),
        *ask_colors(words, chart),
        ask_title(chart),
        absent_ask("What is the forecast for next year?", "forecast"),
    )
    return Draft(words=_source(_vega(words, chart, layers, width=520, height=330, ground="#14213d")), asks=asks)


def vega_heat(words: Words) -> Draft:
    """A table of numbers on colored squares."""
    towns, start = words.sample(TOWNS, 5), words.randrange(9)
    months = [month[:3] for month in MONTHS[start : start + 4]]
    values = dict(zip(months, [words.values(5, -9, 38) for _ in months], strict=True))
    chart = Chart(
        title="Mean temperature in °C",
        unit="°C",
        what="temperature",
        thing="town",
        names=towns,
        values=values,
        hues={},
        step=5,
    )
    across = {"field": "series", "type": "nominal", "sort": None, "title": None, "axis": {"orient": "top"}}
    layers: list[dict[str, Any]] = [
        {
            "mark": "rect",
            "encoding": {
                "y": _names(),
                "x": across,
                "color": {
                    "field": "value",
                    "type": "quantitative",
                    "legend": None,
                    "scale": {"scheme": words.choice(("oranges", "blues", "greens")), "domain": [-30, 120]},
                },
            },
        },
        {"mark": {"type": "text"}, "encoding": {"y": _names(), "x": across, "text": {"field": "value"}}},
    ]
    cells = words.sample([(month, place) for month in months for place in range(5)], 3)
    month = words.choice(months)
    asks = (
        *(
            cell_ask(f"How warm is {towns[place]} in {each}?", str(values[each][place]), towns[place], each)
            for each, place in cells
        ),
        Ask(
            kind="most",
            question=f"Which town is the warmest in {month}?",
            answer=towns[values[month].index(max(values[month]))],
            beside=(month,),
        ),
        Ask(kind="rows", question="How many towns are listed?", answer="5", beside=(towns[0],), printed=False),
        field_ask("In which unit are the temperatures?", "°C"),
        absent_ask("How much rain fell?", "rain"),
    )
    return Draft(words=_source(_vega(words, chart, layers, width=400, height=400)), asks=asks)


def _gnuplot(words: Words, chart: Chart, wide: int, high: int, plot: str, more: str = "") -> dict[str, str]:
    """A script whose data stand in it."""
    size, font = words.choice((13, 15, 17)), words.choice(("Noto Sans", "Gentium Plus", "Carlito"))
    rows = "\n".join(
        f'"{name}" {" ".join(str(values[place]) for values in chart.values.values())}'
        for place, name in enumerate(chart.names)
    )
    text = f"""set terminal pdfcairo size {wide / 72:.4f}in,{high / 72:.4f}in font "{font},{size}" fontscale 1
set output "page.pdf"
set title "{chart.title}"
set ylabel "{chart.unit}"
set yrange [0:{chart.step * 13}]
set ytics {chart.step}
set grid ytics
set style fill solid 0.9 border -1
{more}
$data << EOD
{rows}
EOD
{plot}
"""
    return {"source": text}


def gnuplot_bars(words: Words) -> Draft:
    """Boxes with their values above them."""
    chart = plan_chart(words, names=5)
    hue = HUES[words.choice(sorted(set(HUES) - {"black"}))]
    plot = (
        f"plot $data using 0:2:xtic(1) with boxes lc rgb '{hue}' notitle, "
        "'' using 0:2:2 with labels offset 0,0.8 notitle"
    )
    more = "set boxwidth 0.6\nset xrange [-0.6:4.6]\nunset grid"
    asks = (
        *ask_value(words, chart, printed=True),
        *ask_extremes(words, chart),
        ask_difference(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(words=_gnuplot(words, chart, 640, 480, plot, more), asks=asks)


def gnuplot_lines(words: Words) -> Draft:
    """Lines with points on the lines of a grid, in a tall frame."""
    chart = plan_chart(words, names=4, series=2, on_ticks=True)
    first, second = chart.hues
    one, other = (HUES[chart.hues[line]] for line in (first, second))
    plot = (
        f"plot $data using 0:2:xtic(1) with linespoints lw 3 pt 7 ps 1 lc rgb '{one}' title '{first}', "
        f"'' using 0:3 with linespoints lw 3 pt 5 ps 1 lc rgb '{other}' title '{second}'"
    )
    more = "set xrange [-0.4:3.4]\nset key outside top center horizontal"
    asks = (
        *ask_value(words, chart, printed=False, number=3),
        *ask_extremes(words, chart),
        *ask_colors(words, chart),
        ask_title(chart),
        NO_SOURCE,
    )
    return Draft(words=_gnuplot(words, chart, 480, 640, plot, more), asks=asks)
