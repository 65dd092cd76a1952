"""Bars that lie: what they say is as long as they are drawn and stands where it is said to; and colors that stay."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from llava.pages import STYLES
from llava.pages.charts import draw_chart
from llava.pages.print_sheet import PrintSheet
from llava.pages.theme import draw_theme

STYLE = STYLES["print_small"]


def drawn(seed):
    rng = np.random.default_rng(seed)
    assert STYLE.looks is not None
    theme = draw_theme(rng, replace(STYLE.looks, sizes=(9.0, 12.0)))
    sheet = PrintSheet(rng, theme, STYLE.wear.scaled(0))
    inside = (7.0, 11.0, sheet.width - 13.0, sheet.height - 17.0)
    chart = draw_chart(sheet, rng, inside, layout="legend right", title="", kind="sideways", size=sheet.print_size)
    return chart, sheet.finish(())


CASES = [drawn(seed) for seed in range(12)]


@pytest.mark.parametrize(("chart", "page"), CASES)
def test_bars_are_as_long_as_their_values(chart, page):
    bars = {(mark.row or "", mark.column): mark for mark in page.marks if mark.shape == "bar"}
    assert bars.keys() == chart.values.keys()
    lengths = {key: (mark.box[2] - mark.box[0]) * page.image.width for key, mark in bars.items()}
    pixels = sum(lengths.values()) / sum(chart.values.values())
    assert all(abs(lengths[key] - pixels * chart.values[key]) < 2.5 for key in lengths)
    assert len({round(mark.box[0] * page.image.width) for mark in bars.values()}) == 1


@pytest.mark.parametrize(("chart", "page"), CASES)
def test_values_are_printed_behind_their_bar_or_named_by_a_tick(chart, page):
    by_box = {mark.box: mark for mark in page.marks}
    for key, value in chart.values.items():
        *shape, print_box = chart.value_boxes[key]
        assert by_box[print_box].text == str(value)
        if shape:
            middle = (print_box[0] + print_box[2]) / 2
            assert abs(middle - shape[0][2]) * page.image.width < 4
            assert print_box[1] > shape[0][3]


@pytest.mark.parametrize(("chart", "page"), CASES)
def test_everything_is_on_the_page_and_labels_stand_beside_their_bars(chart, page):
    for mark in page.marks:
        assert min(mark.box) >= -0.01
        assert max(mark.box) <= 1.01
    for category in chart.categories:
        label = chart.label_boxes[category]
        bars = [mark.box for mark in page.marks if mark.shape == "bar" and mark.column == category]
        assert min(box[1] for box in bars) <= (label[1] + label[3]) / 2 <= max(box[3] for box in bars)
        assert label[2] < min(box[0] for box in bars)


def test_both_kinds_of_scale_and_one_to_three_series_are_drawn():
    cases = Counter((len(chart.series), len(next(iter(chart.value_boxes.values())))) for chart, _ in CASES)
    assert {series for series, _ in cases} >= {1, 2}
    assert {boxes for _, boxes in cases} == {1, 2}


@pytest.mark.parametrize(("color", "is_gray"), [("red", False), ("black", True)])
def test_pages_on_which_colors_mean_something_keep_them(color, is_gray):
    rng = np.random.default_rng(3)
    assert STYLE.looks is not None
    theme = draw_theme(rng, replace(STYLE.looks, tinted=0.0))
    sheet = PrintSheet(rng, theme, replace(STYLE.wear.scaled(0), gray=1.0))
    sheet.bar(20, 20, 60, 60, "bar", color)
    sheet.fill(80, 80, 120, 120, (200, 20, 20))
    pixels = np.asarray(sheet.finish(()).image).astype(int)
    assert (np.ptp(pixels, axis=2).max() < 3) == is_gray
