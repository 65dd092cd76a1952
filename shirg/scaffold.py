"""The coarse scale: a scaffold that always shows the whole page."""

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from shirg.coordinates import grid_boxes
from shirg.tokens import DualScaleTokens


def dual_scale(detail: Float[Tensor, "batch patches dim"], *, grid: int, scaffold_factor: int) -> DualScaleTokens:
    """Sharp patches with the scaffold over them, as a tower sees a stretched page: all are candidates.

    Raises:
        ValueError: as ``pool_scaffold``.
    """
    batch, device = len(detail), detail.device
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=grid, factor=scaffold_factor),
        boxes=grid_boxes(grid, device=device).expand(batch, -1, -1),
        scaffold_boxes=grid_boxes(grid // scaffold_factor, device=device).expand(batch, -1, -1),
        candidates=torch.ones(batch, grid**2, dtype=torch.bool, device=device),
        grid=grid,
    )


def pool_scaffold(
    detail: Float[Tensor, "batch patches dim"], *, grid: int, factor: int
) -> Float[Tensor, "batch cells dim"]:
    """The mean of every ``factor`` x ``factor`` block of patches, in raster order and in the caller's dtype.

    A mean rather than a learned pooling keeps the scaffold in the space the released projector was trained on.

    Raises:
        ValueError: if the tokens are not a ``grid`` x ``grid`` square, or the factor does not divide its side.
    """
    if detail.shape[1] != grid**2:
        raise ValueError(f"a grid of {grid} has {grid**2} patches, but detail holds {detail.shape[1]} tokens")
    if grid % factor:
        raise ValueError(f"the scaffold factor must divide the grid, got {factor} and {grid}")
    cells = grid // factor
    return reduce(
        detail,
        "batch (rows high columns wide) dim -> batch (rows columns) dim",
        "mean",
        rows=cells,
        columns=cells,
        high=factor,
        wide=factor,
    )
