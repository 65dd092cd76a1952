"""How many views a page gets: by definition, for pages people have, and never more than its pixels fill."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.config import ShirgXConfig
from shirg.tiling import MOST_ALONG, PageViews, choose_tiling, name_tiles, parse_tiles

SIDE = 672
A4 = math.sqrt(2)


def choose_by_loops(width, height, side, most, pad):
    """The definition, with floats where nothing is near a border."""
    offered = []
    for rows, columns in itertools.product(range(1, most + 1), repeat=2):
        tiles, across, down = rows * columns, columns * side / width, rows * side / height
        warp = max(across, down) / min(across, down)
        fits = tiles <= most and math.sqrt(tiles) * side <= 1.01 * math.sqrt(width * height)
        warps = not pad and warp > max(1.6, width / height, height / width) * (1 + 1e-9)
        if tiles > 1 and (not fits or warps):
            continue
        kept = min(across, down, 1) ** 2 if pad else min(across, 1) * min(down, 1)
        offered.append((round(kept, 9), (rows, columns)))
    most = max(kept for kept, _ in offered)
    near = [each for each in offered if each[0] >= 0.99 * most]
    return min(near, key=lambda each: (math.prod(each[1]), -each[0], -each[1][1]))[1]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    width=st.integers(9, 4001),
    height=st.integers(9, 4001),
    side=st.sampled_from([168, 672]),
    most=st.sampled_from([1, 2, 5, 6, 11]),
    pad=st.booleans(),
)
def test_the_choice_follows_its_definition(width, height, side, most, pad):
    chosen = choose_tiling((width, height), side=side, max_tiles=most, pad=pad)
    assert chosen == choose_by_loops(width, height, side, most, pad)
    tiles = math.prod(chosen)
    assert tiles <= most
    assert tiles == 1 or tiles * side**2 <= 1.0202 * width * height, "nothing is enlarged"


@pytest.mark.parametrize(
    ("size", "pad", "tiling"),
    [
        ((672, 672), False, (1, 1)),
        ((1000, 1000), False, (1, 1)),  # 2 views would make print twice as wide as high
        ((1344, 1344), False, (2, 2)),
        ((1340, 1340), False, (2, 2)),  # short by less than a hundredth
        ((round(1344 / A4**0.5), round(1344 * A4**0.5)), False, (2, 2)),  # A4 with 1344 x 1344's worth of pixels
        ((round(1344 * A4**0.5), round(1344 / A4**0.5)), False, (2, 2)),
        ((1414, 2000), False, (3, 2)),  # A4 as PDFs are rendered
        ((2000, 1414), False, (2, 3)),
        ((1700, 2200), False, (3, 2)),  # US letter at 200 dots per inch
        ((20_000, 20_000), False, (2, 3)),
        ((600, 3000), False, (4, 1)),  # a receipt: its sides are less than a hundredth short of four views' area
        ((700, 3000), False, (4, 1)),
        ((600, 3000), True, (4, 1)),
        ((500, 3000), True, (3, 1)),
        ((3000, 500), True, (1, 3)),
        ((1280, 1024), True, (1, 2)),
        ((20, 9), True, (1, 1)),
    ],
)
def test_pages_that_people_have(size, pad, tiling):
    assert choose_tiling(size, side=SIDE, max_tiles=6, pad=pad) == tiling


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    width=st.floats(50, 3000),
    aspect=st.floats(0.2, 5),
    tiles=st.sampled_from([None, (1, 1), (2, 2), (3, 2), (1, 5)]),
    most=st.sampled_from([1, 4, 6, 9]),
    pad=st.booleans(),
)
def test_a_page_rendered_for_its_tiles_fills_them_and_gets_them(width, aspect, tiles, most, pad):
    views = PageViews(side=SIDE, pad=pad, tiles=tiles, max_tiles=most)
    shape = (width, width * aspect)
    scale = views.long_side(shape) / max(shape)
    size = tuple(round(side * scale) for side in shape)
    rows, columns = views.tiling(size)
    assert size[0] >= columns * SIDE - 1
    assert size[1] >= rows * SIDE - 1
    much = views.tiling(tuple(math.ceil(40 * most * side * SIDE / min(shape)) for side in shape))
    assert (rows, columns) == much, "more pixels would not give more tiles"


@pytest.mark.parametrize(
    ("setting", "tiling"), [(1, (1, 1)), ("1", (1, 1)), ("1x1", (1, 1)), ("3x2", (3, 2)), ("16x1", (16, 1))]
)
def test_settings_are_rows_by_columns(setting, tiling):
    assert parse_tiles(setting) == tiling
    assert parse_tiles(name_tiles(tiling)) == tiling
    assert ShirgXConfig(tiles=setting).tiles == name_tiles(tiling)
    views = ShirgXConfig(tiles=setting, resize="pad").views(14)
    assert (views.side, views.pad, views.tiling((9, 9))) == (672, True, tiling)


def test_auto_asks_the_picture():
    assert parse_tiles("auto") is None
    config = ShirgXConfig(tiles="auto", max_tiles=4)
    assert config.tiles == name_tiles(None) == "auto"
    assert config.views(14).tiling((1414, 2000)) == (2, 2)


@pytest.mark.parametrize(
    "setting", [0, 2, "2", "2x", "x2", "0x2", "2x0", "2 x 2", f"{MOST_ALONG + 1}x1", "3X2", True, None]
)
def test_other_settings_are_refused(setting):
    with pytest.raises(ValueError, match="tiles must be 1, auto, or rows x columns such as 3x2"):
        ShirgXConfig(tiles=setting)


def test_a_page_of_fixed_tiles_can_fill_larger_budgets():
    assert ShirgXConfig(tiles="2x2").num_patches == 9216
    assert ShirgXConfig(tiles="2x2", budgets=(4096,)).budgets == (4096,)
    for tiles in (1, "auto"):
        with pytest.raises(ValueError, match="must not exceed the 2304 patches of a page"):
            ShirgXConfig(tiles=tiles, budgets=(4096,))
    assert {ShirgXConfig(tiles=tiles).scaffold_tokens for tiles in (1, "3x2", "auto")} == {144}
