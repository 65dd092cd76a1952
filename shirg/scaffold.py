"""The coarse scale: a scaffold that always shows the whole page."""

from einops import reduce
from jaxtyping import Float
from torch import Tensor


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
