"""The scaffold is the plain mean of each block, in raster order."""

import pytest
import torch

from shirg.scaffold import pool_scaffold


def test_matches_block_means_by_loops():
    (rows, columns), (high, wide), batch, dim = (21, 10), (7, 5), 2, 11
    detail = torch.randn(batch, rows * columns, dim)
    down, across = rows // high, columns // wide
    expected = torch.zeros(batch, down * across, dim)
    for row in range(rows):
        for column in range(columns):
            patch = detail[:, row * columns + column]
            expected[:, row // high * across + column // wide] += patch / (high * wide)
    torch.testing.assert_close(pool_scaffold(detail, grid=(rows, columns), cells=(down, across)), expected)


def test_a_bright_corner_stays_in_its_corner():
    detail = torch.zeros(1, 36, 2)
    detail[:, 5] = 8.0
    pooled = pool_scaffold(detail, grid=(6, 6), cells=(3, 3))
    assert pooled[0, 2].tolist() == [2.0, 2.0]
    assert pooled.sum() == 4.0


def test_half_precision_is_summed_in_float32_and_returned():
    detail = torch.full((1, 16, 3), 1.0, dtype=torch.bfloat16)
    detail[:, 0] = 256.0
    pooled = pool_scaffold(detail, grid=(4, 4), cells=(1, 1))
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled, torch.full((1, 1, 3), (256 + 15) / 16, dtype=torch.bfloat16), rtol=0, atol=0)


def test_the_full_size():
    assert pool_scaffold(torch.zeros(1, 2304, 3), grid=(48, 48), cells=(12, 12)).shape == (1, 144, 3)
    assert pool_scaffold(torch.zeros(1, 13_824, 3), grid=(144, 96), cells=(12, 12)).shape == (1, 144, 3)


@pytest.mark.parametrize(
    ("grid", "cells", "message"), [((5, 7), (1, 1), "has 35 patches"), ((4, 9), (2, 2), "must divide the grid")]
)
def test_shapes_that_do_not_fit_are_refused(grid, cells, message):
    with pytest.raises(ValueError, match=message):
        pool_scaffold(torch.zeros(1, 36, 2), grid=grid, cells=cells)
