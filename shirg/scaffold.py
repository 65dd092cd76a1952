"""The coarse scale: a scaffold that always shows the whole page."""

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from shirg.tiling import Grid


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
