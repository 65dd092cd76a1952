"""Place: the boxes of patches on the page, and the embedding that tells the model about them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional


def grid_boxes(grid: int, *, device: torch.device | str | None = None) -> Float32[Tensor, "cells 4"]:
    """The (x, y, h, w) of each cell of a ``grid`` x ``grid`` square stretched over the image, in raster order."""
    centers = (torch.arange(grid, device=device, dtype=torch.float32) + 0.5) / grid
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    extent = torch.full_like(x, 1.0 / grid)
    return torch.stack((x, y, extent, extent), dim=-1).flatten(0, 1)


def padded_grid_boxes(
    grid: int, image_sizes: Sequence[tuple[int, int]], *, device: torch.device | str | None = None
) -> tuple[Float32[Tensor, "batch cells 4"], Bool[Tensor, "batch cells"]]:
    """The boxes of a square grid over images centered on padding, and which cells show any of the image.

    Sizes are (width, height) in pixels. Boxes are relative to the original image and clipped to it, so that a place
    means the same whether a page was stretched or padded; a cell that shows only padding has no extent. Everything is
    worked out from the sizes on the host, exactly, before one copy to the device.

    Raises:
        ValueError: if a side of an image is not positive.
    """
    boxes, visible = [], []
    for width, height in image_sizes:
        if width < 1 or height < 1:
            raise ValueError(f"an image needs a positive width and height, got {width} x {height}")
        side = max(width, height)
        left, right = _clipped_spans(grid, width, side)
        top, bottom = _clipped_spans(grid, height, side)
        inside = (bottom > top)[:, None] & (right > left)[None, :]
        y, x = torch.meshgrid((top + bottom) / 2, (left + right) / 2, indexing="ij")
        h, w = torch.meshgrid(bottom - top, right - left, indexing="ij")
        boxes.append(torch.stack((x, y, h * inside, w * inside), dim=-1).flatten(0, 1))
        visible.append(inside.flatten())
    return torch.stack(boxes).float().to(device), torch.stack(visible).to(device)


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
