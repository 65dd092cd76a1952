"""Boxes tile the page, padded or not, and an untrained embedding adds nothing."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.coordinates import CoordinateEmbedding, grid_boxes, padded_grid_boxes, padded_page_boxes, page_boxes


def test_grid_boxes_in_raster_order():
    boxes = grid_boxes((3, 3))
    torch.testing.assert_close(boxes[0], torch.tensor([1 / 6, 1 / 6, 1 / 3, 1 / 3]))
    torch.testing.assert_close(boxes[1], torch.tensor([1 / 2, 1 / 6, 1 / 3, 1 / 3]))
    torch.testing.assert_close(boxes[3], torch.tensor([1 / 6, 1 / 2, 1 / 3, 1 / 3]))


def padded_by_fractions(grid, width, height, shape):
    """Every cell in exact arithmetic: where it lies on the padded page, and what of the image it covers."""
    rows, columns = grid
    scale = max(Fraction(height, shape[0]), Fraction(width, shape[1]))
    boxes, visible = [], []
    for row in range(rows):
        for column in range(columns):
            spans = []
            for cell, cells, length, side in (
                (column, columns, width, scale * shape[1]),
                (row, rows, height, scale * shape[0]),
            ):
                margin = (side - length) / 2
                start, end = (edge * side / cells - margin for edge in (cell, cell + 1))
                spans.append([min(max(edge / length, Fraction(0)), Fraction(1)) for edge in (start, end)])
            (left, right), (top, bottom) = spans
            seen = right > left and bottom > top
            boxes.append([(left + right) / 2, (top + bottom) / 2, seen * (bottom - top), seen * (right - left)])
            visible.append(seen)
    return torch.tensor([[float(number) for number in box] for box in boxes]), torch.tensor(visible)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    shape=st.sampled_from([(1, 1), (2, 1), (3, 2), (2, 5)]),
)
def test_padded_boxes_match_exact_arithmetic(grid, size, shape):
    boxes, candidates = padded_grid_boxes(grid, size, shape=shape)
    expected_boxes, expected_candidates = padded_by_fractions(grid, *size, shape)
    torch.testing.assert_close(boxes, expected_boxes)
    assert torch.equal(candidates, expected_candidates)
    torch.testing.assert_close(boxes[:, 2:].prod(dim=1).sum(), torch.tensor(1.0))


def test_pages_of_several_grids_stand_in_one_table():
    grids = [(2, 3), (5, 2), (2, 3)]
    boxes, real = page_boxes(grids)
    assert boxes.shape == (3, 10, 4)
    for row, grid in enumerate(grids):
        count = grid[0] * grid[1]
        assert torch.equal(boxes[row, :count], grid_boxes(grid))
        assert not boxes[row, count:].any()
        assert real[row].tolist() == [True] * count + [False] * (10 - count)
    torch.testing.assert_close(boxes[..., 2:].prod(-1).sum(1), torch.ones(3))
    padded, inside = padded_page_boxes(grids, [(40, 30)] * 3, shapes=grids)
    for row, grid in enumerate(grids):
        alone, visible = padded_grid_boxes(grid, (40, 30), shape=grid)
        assert torch.equal(padded[row, : len(alone)], alone)
        assert torch.equal(inside[row, : len(alone)], visible)
        assert not inside[row, len(alone) :].any()


def test_a_cell_that_only_touches_the_image_is_no_candidate():
    # 640 x 480 on a grid of 8: the image begins exactly where row 1 does.
    rows = [int(padded_grid_boxes((8, 8), (640, high))[1].view(8, 8)[:, 0].sum()) for high in (480, 482)]
    assert rows == [6, 8]


def test_a_square_image_has_no_padding():
    boxes, candidates = padded_grid_boxes((7, 7), (333, 333))
    torch.testing.assert_close(boxes, grid_boxes((7, 7)))
    assert candidates.all()


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="positive width and height, got 0 x 5"):
        padded_grid_boxes((3, 3), (0, 5))


class TestCoordinateEmbedding:
    def test_full_size(self):
        embedding = CoordinateEmbedding(1152)
        sizes = {name: weight.numel() for name, weight in embedding.named_parameters()}
        assert sum(count for name, count in sizes.items() if name.startswith("coord_linear.")) == 640
        assert sum(count for name, count in sizes.items() if name.startswith("coord_out.")) == 148_608
        assert sum(sizes.values()) == 149_248

    def test_untrained_adds_exactly_nothing_and_can_learn(self):
        embedding = CoordinateEmbedding(7, hidden=5)
        added = embedding(torch.rand(2, 3, 4))
        assert torch.equal(added, torch.zeros(2, 3, 7))
        added.sum().backward()
        assert embedding.coord_out.weight.grad.abs().sum() > 0

    def test_matches_its_definition_once_trained(self):
        embedding = CoordinateEmbedding(7, hidden=5)
        torch.nn.init.normal_(embedding.coord_out.weight)
        boxes = torch.rand(2, 3, 4)
        hidden = boxes @ embedding.coord_linear.weight.T + embedding.coord_linear.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        torch.testing.assert_close(embedding(boxes), hidden @ embedding.coord_out.weight.T)

    def test_gives_the_dtype_of_its_weights(self):
        assert CoordinateEmbedding(7).bfloat16()(torch.rand(2, 3, 4)).dtype == torch.bfloat16
