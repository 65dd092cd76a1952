"""The scaffold is the plain mean of each block, in raster order."""

import pytest
import torch

from shirg.scaffold import pool_scaffold


def test_matches_block_means_by_loops():
    grid, factor, batch, dim = 15, 5, 2, 7
    detail = torch.randn(batch, grid**2, dim)
    cells = grid // factor
    expected = torch.zeros(batch, cells**2, dim)
    for row in range(grid):
        for column in range(grid):
            expected[:, row // factor * cells + column // factor] += detail[:, row * grid + column] / factor**2
    torch.testing.assert_close(pool_scaffold(detail, grid=grid, factor=factor), expected)


def test_a_bright_corner_stays_in_its_corner():
    detail = torch.zeros(1, 36, 2)
    detail[:, 5] = 8.0
    pooled = pool_scaffold(detail, grid=6, factor=2)
    assert pooled[0, 2].tolist() == [2.0, 2.0]
    assert pooled.sum() == 4.0


def test_half_precision_is_summed_in_float32_and_returned():
    detail = torch.full((1, 16, 3), 1.0, dtype=torch.bfloat16)
    detail[:, 0] = 256.0
    pooled = pool_scaffold(detail, grid=4, factor=4)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled, torch.full((1, 1, 3), (256 + 15) / 16, dtype=torch.bfloat16), rtol=0, atol=0)


def test_the_full_size():
    assert pool_scaffold(torch.zeros(1, 2304, 3), grid=48, factor=4).shape == (1, 144, 3)


@pytest.mark.parametrize(("grid", "factor", "message"), [(5, 5, "has 25 patches"), (6, 4, "must divide the grid")])
def test_shapes_that_do_not_fit_are_refused(grid, factor, message):
    with pytest.raises(ValueError, match=message):
        pool_scaffold(torch.zeros(1, 36, 2), grid=grid, factor=factor)
