"""The picture shows what was decided: counts that add up, bright where kept, marks where they belong."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from shirg import visualize
from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes, padded_grid_boxes
from shirg.scaffold import pool_scaffold
from shirg.shirg_selector import select
from shirg.tokens import DualScaleTokens
from shirg.visualize import draw_selection

GRID = 12
CONFIG = ShirgXConfig().for_grid(GRID)
OPTIONS = {"grid": GRID, "scaffold_factor": 4, "resize": "stretch"}


def make_selection(*, sizes=None, budgets=(32, 48)):
    batch = len(budgets)
    detail = torch.randn(batch, GRID**2, 5) * 0.3 + 1
    boxes, candidates = grid_boxes(GRID).expand(batch, -1, -1), torch.ones(batch, GRID**2, dtype=torch.bool)
    config = CONFIG
    if sizes is not None:
        boxes, candidates = padded_grid_boxes(GRID, sizes)
        config = CONFIG.replace(resize="pad")
    dual = DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=GRID, factor=4),
        boxes=boxes,
        scaffold_boxes=grid_boxes(3).expand(batch, -1, -1),
        candidates=candidates,
        grid=GRID,
    )
    return select(dual, torch.rand(batch, GRID**2), config, budgets)


def drawn(page, selection, **options):
    """The decision as drawn, and the pixels of the panel of kept patches."""
    index = options.get("index", 0)
    decision = visualize._read_decision(
        selection, page.size, grid=GRID, resize=options.get("resize", "stretch"), index=index
    )
    return decision, np.asarray(draw_selection(page, selection, **(OPTIONS | options)))


@pytest.mark.parametrize(
    ("size", "landscape"),
    [((300, 400), True), ((2000, 200), True), ((200, 2000), False), ((1, 1), True), ((9000, 7000), True)],
)
def test_pages_of_any_shape_fit_on_one_screen(size, landscape):
    picture = draw_selection(Image.new("L", size, 240), make_selection()[1], title="word " * 60, **OPTIONS)
    assert picture.mode == "RGB"
    assert min(picture.size) > 400
    assert max(picture.size) < 2600
    assert (picture.width > picture.height) == landscape


def test_counts_add_up_to_the_candidates():
    tokens, selection = make_selection()
    for index, budget in enumerate((32, 48)):
        decision, _ = drawn(Image.new("RGB", (60, 60)), selection, index=index)
        assert decision.num_tokens == budget
        assert decision.num_tokens + decision.num_merged == tokens.areas[index].sum()
        assert decision.num_tokens + decision.num_merged + decision.num_dropped == GRID**2
        assert decision.num_merged > 0


def test_padding_counts_neither_as_kept_nor_as_dropped():
    sizes = [(400, 200), (100, 300)]
    _, selection = make_selection(sizes=sizes)
    decision, _ = drawn(Image.new("RGB", sizes[1]), selection, resize="pad", index=1)
    assert decision.num_tokens + decision.num_merged + decision.num_dropped == 4 * GRID
    # The image fills columns 4 to 7; all edges left and right of it collapse onto its border.
    torch.testing.assert_close(torch.from_numpy(decision.x_edges), torch.linspace(-1, 2, 13).clamp(0, 1).double())
    torch.testing.assert_close(torch.from_numpy(decision.y_edges), torch.linspace(0, 1, 13).double())


@pytest.mark.parametrize(("size", "resize"), [((76, 52), "stretch"), ((80, 40), "pad")])
def test_each_pixel_shows_its_patch(size, resize):
    _, selection = make_selection(sizes=[size] * 2 if resize == "pad" else None)
    page = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    decision = visualize._read_decision(selection, size, grid=GRID, resize=resize, index=0)
    shown = visualize._per_pixel(decision.token, page, decision)
    boxes = grid_boxes(GRID) if resize == "stretch" else padded_grid_boxes(GRID, [size])[0][0]
    for pixel_y in range(size[1]):
        for pixel_x in range(0, size[0], 5):
            place = torch.tensor([(pixel_x + 0.5) / size[0], (pixel_y + 0.5) / size[1]])
            inside = ((boxes[:, :2] - place).abs() * 2 <= boxes[:, [3, 2]]).all(dim=1)
            assert shown[pixel_y, pixel_x] == selection.assignment[0, inside.nonzero()[0, 0]]


def test_outlines_surround_exactly_the_merged_survivors():
    _, selection = make_selection()
    decision, _ = drawn(Image.new("RGB", (60, 60)), selection)
    expected = set()
    token, kept = decision.token, decision.kept
    for row in range(GRID):
        for column in range(GRID):
            if not kept[row, column] or (token == token[row, column]).sum() == 1:
                continue
            for step_row, step_column, ends in (
                (-1, 0, ((column, row), (column + 1, row))),
                (1, 0, ((column, row + 1), (column + 1, row + 1))),
                (0, -1, ((column, row), (column, row + 1))),
                (0, 1, ((column + 1, row), (column + 1, row + 1))),
            ):
                other = (row + step_row, column + step_column)
                within = all(0 <= place < GRID for place in other)
                if not within or token[other] != token[row, column]:
                    expected.add(ends)
    segments = np.rint(visualize._outlines(decision) * GRID).astype(int)
    assert {tuple(map(tuple, segment)) for segment in segments.tolist()} == expected
    assert len(segments) == len(expected) > 0


def rgb(color):
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def count(pixels, color):
    return int((np.abs(pixels.astype(int) - rgb(color)).max(axis=2) < 12).sum())


def test_kept_patches_are_bright_dropped_ones_dim_and_anchors_marked():
    _, selection = make_selection()
    decision, pixels = drawn(Image.new("RGB", (600, 600), "white"), selection)
    figure, *panels, _ = visualize._lay_out(1.0, None, stacked=False)
    height = round(figure.get_figheight() * visualize.DPI)

    def pixel(panel, row, column, share):
        box = panels[panel].get_window_extent()
        x = int(box.x0 + (column + share) / GRID * box.width)
        return pixels[int(height - box.y1 + (row + share) / GRID * box.height), x].astype(int)

    assert decision.anchors.any()
    for row, column in np.ndindex(GRID, GRID):
        if decision.anchors[row, column]:
            for panel in range(2):
                assert np.abs(pixel(panel, row, column, 0.5) - rgb(visualize.ANCHOR_COLOR)).max() < 12
        else:
            # A quarter into the patch, clear of outlines and cell lines.
            assert (pixel(0, row, column, 0.25).min() > 250) == decision.kept[row, column]


def test_merged_regions_are_outlined():
    _, selection = make_selection()
    page = Image.new("RGB", (600, 600), "white")
    apart = dataclasses.replace(selection, assignment=torch.arange(GRID**2).expand(2, -1))
    _, merged_pixels = drawn(page, selection)
    _, apart_pixels = drawn(page, apart)
    legend = count(apart_pixels, visualize.MERGED_COLOR)
    assert count(merged_pixels, visualize.MERGED_COLOR) > legend + 1000


def test_answer_and_title_are_drawn_only_when_given():
    _, selection = make_selection()
    page = Image.new("RGB", (300, 300), "white")
    _, plain = drawn(page, selection)
    _, marked = drawn(page, selection, answer_box=(0.5, 0.25, 0.2, 0.4))
    assert count(plain, visualize.ANSWER_COLOR) == 0
    assert count(marked, visualize.ANSWER_COLOR) > 500
    _, titled = drawn(page, selection, title="What is due?")
    assert titled.shape[0] > plain.shape[0]


def test_transparent_paper_is_white():
    page = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert visualize._as_array(page).min() == 255


def test_huge_pages_are_scaled_down():
    assert visualize._as_array(Image.new("L", (8000, 500))).shape == (100, 1600, 3)


def test_bad_calls_are_refused():
    _, selection = make_selection()
    page = Image.new("RGB", (60, 60))
    with pytest.raises(ValueError, match="holds images 0 to 1, got index 2"):
        draw_selection(page, selection, **(OPTIONS | {"index": 2}))
    with pytest.raises(ValueError, match="grid of 16 has 256 patches, but the selection was made over 144"):
        draw_selection(page, selection, **(OPTIONS | {"grid": 16}))
