"""Peers that see everything, but coarsely: a pooled grid, and a smaller view."""

import math

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from shirg.baselines.gathering import drop_empty
from shirg.tiling import Grid
from shirg.tokens import DualScaleTokens, TokenSet

MAX_ASPECT = 2


def grid_shape(keep: int, *, grid: Grid) -> Grid:
    """Rows and columns of the pooled grid with the most cells that are no more than ``keep``.

    Neither side is more than twice the other, lest a budget without divisors turn the page into strips; of equal counts
    the squarest wins, and then the wider, for print runs across.
    """
    shapes = [
        (rows, columns)
        for rows in range(1, grid[0] + 1)
        for columns in range(1, grid[1] + 1)
        if rows * columns <= keep and max(rows, columns) <= MAX_ASPECT * min(rows, columns)
    ]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], -abs(shape[0] - shape[1]), shape[1]))


def mean_pooled(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """The means of the patches over the cells of a coarser grid, of at most ``keep`` cells (see ``grid_shape``).

    Where cells do not divide the grid they overlap, as in adaptive pooling. Of a cell only candidates count: its box
    has their centroid and extent, and its area is how many they are. Cells of nothing but padding are left out, for
    which the device is waited for once.
    """
    grid = dual.grids[0]
    rows, columns = grid_shape(keep, grid=grid)
    down, across = (_windows(*sides, dual.detail.device) for sides in zip((rows, columns), grid, strict=True))
    weight = dual.candidates[..., None].float()

    def pool(values: Float32[Tensor, "batch patches any"]) -> Float32[Tensor, "batch tokens any"]:
        square = (values * weight).unflatten(1, grid)
        return torch.einsum("ri,cj,bijd->brcd", down, across, square).flatten(1, 2)

    def reach(corners: Float32[Tensor, "batch patches 2"]) -> Float32[Tensor, "batch tokens 2"]:
        square = corners.masked_fill(weight == 0, -math.inf).transpose(1, 2).unflatten(2, grid)
        return functional.adaptive_max_pool2d(square, (rows, columns)).flatten(2).transpose(1, 2)

    areas = pool(torch.ones_like(weight))
    share = areas.clamp(min=1.0)
    centers, half = dual.boxes[..., :2], dual.boxes[..., 2:].flip(-1) / 2
    extent = (reach(centers + half) + reach(half - centers)).flip(-1)
    return drop_empty(
        (pool(dual.detail.float()) / share).to(dual.detail.dtype),
        torch.cat((pool(centers) / share, extent), dim=-1),
        areas[..., 0],
    )


def scaled_down_side(total: int, *, patch_size: int) -> int:
    """The side, in pixels, of the largest square view that the encoder cuts into at most ``total`` patches.

    For the peer that shrinks the page instead of choosing from it: other pixels, so other features.

    Raises:
        ValueError: if not even one patch is allowed.
    """
    if total < 1:
        raise ValueError(f"a view has at least 1 patch, got a total of {total}")
    return math.isqrt(total) * patch_size


def _windows(cells: int, grid: int, device: torch.device) -> Float32[Tensor, "{cells} {grid}"]:
    """1 where a row or column of the grid lies, even in part, in a cell; the rule of adaptive pooling."""
    cell = torch.arange(cells, device=device)[:, None]
    patch = torch.arange(grid, device=device)
    return ((patch >= cell * grid // cells) & (patch * cells < (cell + 1) * grid)).float()
