"""Plots of comparisons: axes that span several doublings are logarithmic, and their ticks are plain numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from llava.eval.plots import plot_rows


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The figure of some places on the axis."""
    kept: list[Figure] = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (kept.append(self), original(self, *args, **options))
    )

    def draw(places: list[float], axis: str = "tokens") -> Figure:
        summaries = [
            {
                "benchmark": "b",
                "row": f"row {number % 2}",
                axis: place,
                "metrics": {"exact_match": {"mean": 0.5 + number / 100, "low": 0.4, "high": 0.7}},
            }
            for number, place in enumerate(places)
        ]
        plot_rows([*summaries, {**summaries[0], "benchmark": "other", axis: 1e6}], "b", axis, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").stat().st_size > 1000
        return kept.pop()

    return draw


@pytest.mark.parametrize("axis", ["tokens", "milliseconds"])
def test_doublings_are_equally_far_apart_on_an_axis_that_spans_several(drawn: Any, axis: str) -> None:
    figure = drawn([64, 128, 256, 512, 1024], axis)
    (plot,) = figure.axes
    assert plot.get_xscale() == "log"
    places = [plot.transData.transform((64 * 2**step, 0.5))[0] for step in range(5)]
    assert np.diff(places) == pytest.approx(np.full(4, places[1] - places[0]))
    told = {tick.get_position()[0]: tick.get_text() for tick in plot.get_xticklabels() if tick.get_text()}
    assert {64, 128, 256, 512, 1024} <= {*told}
    assert all(float(text) == place for place, text in told.items())


@pytest.mark.parametrize("places", [[300, 400, 700, 1000], [256, 1024]])
def test_an_axis_that_spans_little_is_linear(drawn: Any, places: list[float]) -> None:
    (plot,) = drawn(places).axes
    assert plot.get_xscale() == "linear"


def test_points_and_intervals_stand_where_they_were_measured(drawn: Any) -> None:
    (plot,) = drawn([64, 128, 256, 1024]).axes
    (first, second) = plot.containers
    assert first.lines[0].get_xdata().tolist() == [64, 256]
    assert second.lines[0].get_ydata().tolist() == [0.51, 0.53]
    assert [segment[:, 1].tolist() for segment in first.lines[2][0].get_segments()] == [
        pytest.approx([0.4, 0.7]),
        pytest.approx([0.4, 0.7]),
    ]
    assert (plot.get_title(), plot.get_ylabel(), plot.get_xlabel()) == ("b", "exact match", "image tokens")
