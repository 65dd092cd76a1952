"""Place: the boxes of patches on the page, and the embedding that tells the model about them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from shirg.tiling import Grid, Size


def grid_boxes(grid: Grid, *, device: torch.device | str | None = None) -> Float32[Tensor, "cells 4"]:
    """The (x, y, h, w) of each cell of a grid stretched over the image, in raster order."""
    (rows, columns) = grid
    down, across = (
        (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) / cells for cells in (rows, columns)
    )
    y, x = torch.meshgrid(down, across, indexing="ij")
    h, w = torch.full_like(x, 1.0 / rows), torch.full_like(x, 1.0 / columns)
    return torch.stack((x, y, h, w), dim=-1).flatten(0, 1)


def padded_grid_boxes(
    grid: Grid, image_size: Size, *, shape: Grid = (1, 1)
) -> tuple[Float32[Tensor, "cells 4"], Bool[Tensor, "cells"]]:
    """The boxes of a grid over an image centered on padding, and which cells show any of the image.

    Boxes are relative to the original image and clipped to it, so that a place means the same whether a page was
    stretched or padded; a cell that shows only padding has no extent. Everything is worked out from the size on the
    host, exactly.

    Args:
        image_size: (width, height) in pixels.
        shape: height to width of the padded image, in whole numbers.

    Raises:
        ValueError: if a side of the image is not positive.
    """
    width, height = image_size
    if width < 1 or height < 1:
        raise ValueError(f"an image needs a positive width and height, got {width} x {height}")
    # In units that make both sides of the padded image, of which one is the image's own, whole numbers.
    high, wide = shape
    width, height = width * high, height * wide
    side = max(width, height)
    left, right = _clipped_spans(grid[1], width, side)
    top, bottom = _clipped_spans(grid[0], height, side)
    inside = (bottom > top)[:, None] & (right > left)[None, :]
    y, x = torch.meshgrid((top + bottom) / 2, (left + right) / 2, indexing="ij")
    h, w = torch.meshgrid(bottom - top, right - left, indexing="ij")
    boxes = torch.stack((x, y, h * inside, w * inside), dim=-1)
    return boxes.flatten(0, 1).float(), inside.flatten()


def page_boxes(
    grids: Sequence[Grid], *, device: torch.device | str | None = None
) -> tuple[Float32[Tensor, "batch cells 4"], Bool[Tensor, "batch cells"]]:
    """The boxes of the cells of every page, stretched over its grid, and where there are any.

    Shorter rows end in boxes without extent, where the second answer is False.
    """
    boxes = {grid: grid_boxes(grid, device=device) for grid in dict.fromkeys(grids)}
    if len(boxes) == 1:
        (alone,) = boxes.values()
        return alone.expand(len(grids), -1, -1), torch.ones(len(grids), len(alone), dtype=torch.bool, device=device)
    rows = pad_sequence([boxes[grid] for grid in grids], batch_first=True)
    return rows, rows[..., 2] > 0


def padded_page_boxes(
    grids: Sequence[Grid], image_sizes: Sequence[Size], *, shapes: Sequence[Grid]
) -> tuple[Float32[Tensor, "batch cells 4"], Bool[Tensor, "batch cells"]]:
    """The same for images centered on padding, as ``padded_grid_boxes`` has them, on the host."""
    places = zip(grids, image_sizes, shapes, strict=True)
    boxes, inside = zip(*(padded_grid_boxes(grid, size, shape=shape) for grid, size, shape in places), strict=True)
    return pad_sequence(list(boxes), batch_first=True), pad_sequence(list(inside), batch_first=True)


def _clipped_spans(grid: int, length: int, side: int) -> tuple[Float[Tensor, "cells"], Float[Tensor, "cells"]]:
    """Start and end of each cell along one axis, in [0, 1] of an image of ``length`` centered in ``side``."""
    # In units of 1 / (2 * grid * side), cell edges and image edges are whole numbers: a cell that merely touches the
    # image is told from one that shows a sliver of it.
    edges = 2 * side * torch.arange(grid + 1) - grid * (side - length)
    edges = edges.clamp(0, 2 * grid * length).double() / (2 * grid * length)
    return edges[:-1], edges[1:]


class CoordinateEmbedding(nn.Module):
    """Features that tell the model where a token lies and how much of the page it covers.

    The output layer starts at zero, so that an untrained SHIRG-X is selection alone and a training run has a known
    first step. The names of the layers are what LoRA targets.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.coord_linear = nn.Linear(4, hidden)
        self.coord_out = nn.Linear(hidden, dim)
        nn.init.zeros_(self.coord_out.weight)
        nn.init.zeros_(self.coord_out.bias)

    def forward(self, boxes: Float[Tensor, "batch tokens 4"]) -> Float[Tensor, "batch tokens dim"]:
        """What to add to the features of the tokens at ``boxes``, in the dtype of the weights."""
        return self.coord_out(functional.gelu(self.coord_linear(boxes.to(self.coord_out.weight.dtype))))
