"""The picture shows what was decided: counts that add up, bright where kept, marks where they belong."""

import numpy as np
import pytest
import torch
from PIL import Image

from shirg import visualize
from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes, padded_grid_boxes, padded_page_boxes
from shirg.counts import count_patches
from shirg.scaffold import pool_scaffold
from shirg.shirg_selector import select
from shirg.tokens import DualScaleTokens
from shirg.visualize import draw_selection

GRID = 12
CONFIG = ShirgXConfig().for_grid(GRID)
OPTIONS = {"resize": "stretch", "scaffold_tokens": 9}


def make_selection(*, sizes=None, budgets=(32, 48)):
    batch = len(budgets)
    detail = torch.randn(batch, GRID**2, 5) * 0.3 + 1
    boxes, candidates = grid_boxes((GRID, GRID)).expand(batch, -1, -1), torch.ones(batch, GRID**2, dtype=torch.bool)
    config = CONFIG
    if sizes is not None:
        boxes, candidates = padded_page_boxes([(GRID, GRID)] * batch, sizes, shapes=[(1, 1)] * batch)
        config = CONFIG.replace(resize="pad")
    dual = DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(GRID, GRID), cells=(3, 3)),
        boxes=boxes,
        scaffold_boxes=grid_boxes((3, 3)).expand(batch, -1, -1),
        candidates=candidates,
        grids=((GRID, GRID),) * batch,
    )
    return select(dual, torch.rand(batch, GRID**2), config, budgets)


def drawn(page, selection, **options):
    """The decision as drawn, and the pixels of the panel of kept patches."""
    index = options.get("index", 0)
    decision = visualize._read_decision(selection, page.size, resize=options.get("resize", "stretch"), index=index)
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


def test_counts_are_those_that_the_selection_is_counted_with():
    _, selection = make_selection()
    for index in range(2):
        decision, _ = drawn(Image.new("RGB", (60, 60)), selection, index=index)
        assert decision.counts == count_patches(selection, candidates=GRID**2, index=index)
        assert decision.kept.sum() == decision.counts.kept_patches
        assert decision.merged.sum() == decision.counts.merged > 0
        assert (~decision.kept).sum() == decision.counts.dropped


def test_padding_counts_neither_as_kept_nor_as_dropped():
    sizes = [(400, 200), (100, 300)]
    _, selection = make_selection(sizes=sizes)
    decision, _ = drawn(Image.new("RGB", sizes[1]), selection, resize="pad", index=1)
    assert decision.counts.candidates == decision.counts.kept_patches + decision.counts.dropped == 4 * GRID
    # The image fills columns 4 to 7; all edges left and right of it collapse onto its border.
    torch.testing.assert_close(torch.from_numpy(decision.x_edges), torch.linspace(-1, 2, 13).clamp(0, 1).double())
    torch.testing.assert_close(torch.from_numpy(decision.y_edges), torch.linspace(0, 1, 13).double())


@pytest.mark.parametrize(("size", "resize"), [((76, 52), "stretch"), ((80, 40), "pad")])
def test_each_pixel_shows_its_patch(size, resize):
    _, selection = make_selection(sizes=[size] * 2 if resize == "pad" else None)
    page = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    decision = visualize._read_decision(selection, size, resize=resize, index=0)
    shown = visualize._per_pixel(decision.token, page, decision)
    boxes = grid_boxes((GRID, GRID)) if resize == "stretch" else padded_grid_boxes((GRID, GRID), size)[0]
    for pixel_y in range(size[1]):
        for pixel_x in range(0, size[0], 5):
            place = torch.tensor([(pixel_x + 0.5) / size[0], (pixel_y + 0.5) / size[1]])
            inside = ((boxes[:, :2] - place).abs() * 2 <= boxes[:, [3, 2]]).all(dim=1)
            assert shown[pixel_y, pixel_x] == selection.assignment[0, inside.nonzero()[0, 0]]


def rgb(color):
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def count(pixels, color):
    return int((np.abs(pixels.astype(int) - rgb(color)).max(axis=2) < 12).sum())


def panel_pixels(pixels, panel):
    """The pixels of one of the two panels, and where their patches have their centers."""
    figure, *panels, _ = visualize._lay_out(1.0, None, None, stacked=False)
    box, height = panels[panel].get_window_extent(), round(figure.get_figheight() * visualize.DPI)
    return pixels[round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)]


def centers(panel):
    side = len(panel) / GRID
    places = ((np.arange(GRID) + 0.5) * side).astype(int)
    return panel[np.ix_(places, places)]


def test_the_paper_tells_kept_merged_and_dropped_patches_apart():
    _, selection = make_selection()
    decision, pixels = drawn(Image.new("RGB", (600, 600), "white"), selection)
    expected = np.full((GRID, GRID, 3), 255.0)
    expected[decision.merged] = 255 * np.array(visualize.MERGED_TINT)
    expected[~decision.kept] = 255 * np.array(visualize.DROPPED_TINT)
    assert np.abs(centers(panel_pixels(pixels, 0)) - expected).max() < 3


def test_the_score_s_colors_are_those_of_its_scale():
    _, selection = make_selection()
    decision, pixels = drawn(Image.new("RGB", (600, 600), "white"), selection)
    low, high = decision.scores.min(), decision.scores.max()
    expected = 255 * visualize.SCORE_COLORS((decision.scores - low) / (high - low))[..., :3]
    assert np.abs(centers(panel_pixels(pixels, 1)) - expected).max() < 3


def test_print_stays_darker_than_its_paper_everywhere():
    _, selection = make_selection()
    page = Image.new("RGB", (600, 600), "white")
    for line in range(5, 600, 10):
        page.paste("black", (0, line, 600, line + 2))
    _, blank = drawn(Image.new("RGB", (600, 600), "white"), selection)
    _, printed = drawn(page, selection)
    for panel in range(2):
        paper, print_ = (panel_pixels(pixels, panel).astype(float).mean(axis=2) for pixels in (blank, printed))
        contrast = paper - print_
        # In every row of patches, at every column, there is a line of print that is far darker than the paper.
        rows = np.array_split(contrast[4:-4, 4:-4], GRID)
        assert min(row.max(axis=0).min() for row in rows) > 80


def test_answer_and_title_are_drawn_only_when_given():
    _, selection = make_selection()
    page = Image.new("RGB", (300, 300), "white")
    _, plain = drawn(page, selection)
    _, marked = drawn(page, selection, answer_box=(0.5, 0.25, 0.2, 0.4))
    assert count(plain, visualize.ANSWER_COLOR) == 0
    assert count(marked, visualize.ANSWER_COLOR) > 500
    _, titled = drawn(page, selection, title="What is due?")
    _, answered = drawn(page, selection, title="What is due?", answer="")
    assert answered.shape[0] > titled.shape[0] > plain.shape[0]


def test_the_frame_of_the_answer_leaves_what_it_frames_alone():
    _, selection = make_selection()
    page = Image.new("RGB", (600, 600), "white")
    _, plain = drawn(page, selection)
    _, marked = drawn(page, selection, answer_box=(0.5, 0.5, 0.2, 0.2))
    for panel in range(2):
        before, after = (panel_pixels(pixels, panel) for pixels in (plain, marked))
        start, end = round(0.4 * len(before)) + 2, round(0.6 * len(before)) - 2
        assert np.array_equal(before[start:end, start:end], after[start:end, start:end])


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
