"""From LaViDa's projected views to one sequence of tokens per image.

Axis names: views (thumbnail first, then tiles row by row), side (tokens per row of a view), dim (language width).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig, SiglipVisionConfig

from llava.mm_utils import get_anyres_image_grid_shape

POOL_MODES = ("average", "max", "bilinear")


def pool_views(features: Tensor, *, side: int, stride: int, mode: str) -> Tensor:
    """Views (views, side * side, dim) pooled by ``stride``; returns (views, pooled, pooled, dim).

    Raises:
        ValueError: for a mode that does not exist.
    """
    grid = features.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if mode == "average":
        grid = F.avg_pool2d(grid, stride)
    elif mode == "max":
        grid = F.max_pool2d(grid, stride)
    elif mode == "bilinear":
        size = pooled_side(side, stride, mode)
        grid = F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)
    else:
        raise ValueError(f"mm_spatial_pool_mode {mode!r} does not exist; use one of {', '.join(POOL_MODES)}")
    return grid.permute(0, 2, 3, 1)


def pooled_side(side: int, stride: int, mode: str) -> int:
    """Tokens per row that pooling leaves: LaViDa's bilinear pooling rounds up, the others leave a rest out."""
    return math.ceil(side / stride) if mode == "bilinear" else side // stride


def unpad_image(tensor: Tensor, original_size: tuple[int, int]) -> Tensor:
    """A grid (dim, rows, columns) without the rows or columns that padding filled.

    ``original_size`` is (width, height) of the image before it was padded.
    """
    width, height = original_size
    rows, columns = tensor.shape[1:]
    if width / height > columns / rows:
        padding = (rows - int(height * (columns / width))) // 2
        return tensor[:, padding : rows - padding]
    padding = (columns - int(width * (rows / height))) // 2
    return tensor[:, :, padding : columns - padding]


def join_tiles(views: Tensor, *, columns: int, rows: int, image_size: tuple[int, int], newline: Tensor) -> Tensor:
    """An image's tokens (tokens, dim): the thumbnail's, then the tiles' joined rows, each ended by the newline token.

    Args:
        views: (1 + rows * columns, side, side, dim).
        newline: (dim,).
    """
    thumbnail, tiles = views[0], views[1:]
    grid = tiles.unflatten(0, (rows, columns)).permute(4, 0, 2, 1, 3)
    grid = unpad_image(grid.flatten(3).flatten(1, 2), image_size)
    ends = newline.to(grid)[:, None, None].expand(-1, grid.shape[1], 1)
    return torch.cat([thumbnail.flatten(0, 1), torch.cat([grid, ends], dim=2).flatten(1).T])


def stock_tokens(config: PretrainedConfig, vision: SiglipVisionConfig, size: tuple[int, int]) -> int:
    """Tokens that LaViDa's own encoding makes of an image of ``size``, (width, height) in pixels."""
    image_size, patch_size = int(vision.image_size), int(vision.patch_size)
    side = pooled_side(image_size // patch_size, config.mm_pooler_ratio, config.mm_spatial_pool_mode)
    newlines = config.mm_patch_merge_type == "spatial_unpad"
    if config.image_aspect_ratio != "anyres":
        return side**2 + newlines
    columns, rows = get_anyres_image_grid_shape(size, config.image_grid_pinpoints, image_size)
    views = torch.zeros(1 + columns * rows, side, side, 1)
    if not newlines:
        return len(views) * side**2
    return len(join_tiles(views, columns=columns, rows=rows, image_size=size, newline=torch.zeros(1)))
