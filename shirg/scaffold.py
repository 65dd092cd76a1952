"""The coarse scale: a scaffold that always shows the whole page."""

import math
from collections.abc import Sequence

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from shirg.coordinates import grid_boxes, page_boxes
from shirg.joining import group_alike, together
from shirg.tiling import Grid
from shirg.tokens import DualScaleTokens


def dual_scale(detail: Float[Tensor, "batch patches dim"], grids: Sequence[Grid], cells: Grid) -> DualScaleTokens:
    """Sharp patches of stretched pages with a scaffold of ``cells`` over each: all patches are candidates.

    Args:
        grids: rows and columns of patches of each page; rows of pages with fewer patches end in padding.

    Raises:
        ValueError: as ``pool_scaffold``.
    """
    boxes, candidates = page_boxes(grids, device=detail.device)
    groups = group_alike(grids)
    pooled = [
        pool_scaffold(detail if len(groups) == 1 else detail[places, : math.prod(grid)], grid=grid, cells=cells)
        for grid, places in groups.items()
    ]
    return DualScaleTokens(
        detail=detail,
        scaffold=together(pooled, list(groups.values())),
        boxes=boxes,
        scaffold_boxes=grid_boxes(cells, device=detail.device).expand(len(grids), -1, -1),
        candidates=candidates,
        grids=tuple(grids),
    )


def pool_scaffold(
    detail: Float[Tensor, "batch patches dim"], *, grid: Grid, cells: Grid
) -> Float[Tensor, "batch cells dim"]:
    """The mean of the patches under every cell of a coarser grid, in raster order and in the caller's dtype.

    A mean rather than a learned pooling keeps the scaffold in the space the released projector was trained on.

    Raises:
        ValueError: if the tokens are not on such a grid, or the cells do not divide it.
    """
    (rows, columns), (down, across) = grid, cells
    if detail.shape[1] != rows * columns:
        raise ValueError(
            f"a grid of {rows} x {columns} has {rows * columns} patches, but detail holds {detail.shape[1]} tokens"
        )
    if rows % down or columns % across:
        raise ValueError(f"the scaffold must divide the grid, got {down} x {across} cells and {rows} x {columns}")
    return reduce(
        detail,
        "batch (rows high columns wide) dim -> batch (rows columns) dim",
        "mean",
        rows=down,
        columns=across,
        high=rows // down,
        wide=columns // across,
    )
