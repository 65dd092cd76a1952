"""Plots of a comparison: quality against tokens and against time, with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

AXES = {"tokens": "image tokens", "milliseconds": "choosing and denoising, ms per question"}


def plot_rows(summaries: Sequence[Mapping[str, Any]], benchmark: str, axis: str, path: str | Path) -> None:
    """Draw every row of one benchmark: its main metric with intervals over ``axis``, one of ``AXES``.

    Doublings are equally far apart where the axis spans several, since methods part at its small end.
    """
    # Imported here because it takes seconds and most runs draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    own = [each for each in summaries if each["benchmark"] == benchmark]
    metric = next(iter(own[0]["metrics"]))
    for number, row in enumerate(dict.fromkeys(each["row"] for each in own)):
        points = sorted((each for each in own if each["row"] == row), key=lambda each: each[axis])
        scores = [each["metrics"][metric] for each in points]
        means = [score["mean"] for score in scores]
        reach = [
            [score["mean"] - score["low"] for score in scores],
            [score["high"] - score["mean"] for score in scores],
        ]
        plot.errorbar(
            [each[axis] for each in points],
            means,
            yerr=reach,
            label=row,
            capsize=2,
            marker="os^Dvp*X"[number // 10 % 8],
            linewidth=2.5 if number == 0 else 1,
        )
    places = [each[axis] for each in own if each[axis] > 0]
    if places and max(places) > 4 * min(places):
        plot.set_xscale("log", base=2)
        plot.xaxis.set_major_formatter(ScalarFormatter())
    plot.set_xlabel(AXES[axis])
    plot.set_ylabel(metric.replace("_", " "))
    plot.set_title(benchmark)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=130)
