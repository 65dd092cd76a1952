"""Merge, not drop: similar neighbors become one token that stands for all of them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class MergedTokens:
    """Tokens after merging, at the places of the patches they grew from; folded patches hold zeros."""

    features: Float[Tensor, "batch patches dim"]
    """Area-weighted means, in the caller's dtype."""
    boxes: Float32[Tensor, "batch patches 4"]
    """(x, y, h, w): area-weighted centroid, extent of the union."""
    scores: Float32[Tensor, "batch patches"]
    """Area-weighted means."""
    areas: Float32[Tensor, "batch patches"]
    """How many patches a token stands for; 0 where one was folded away."""


def match_checkerboard(
    features: Float[Tensor, "batch patches dim"],
    scores: Float32[Tensor, "batch patches"],
    candidates: Bool[Tensor, "batch patches"],
    *,
    grid: int,
    epsilon: float,
    min_cosine: float,
    max_merges: Int[Tensor, "batch"],
) -> Int[Tensor, "batch patches"]:
    """The patch that each patch is folded into, which is itself for all that stay.

    On a checkerboard whose first square is white, every black candidate looks at its up to four white neighbors.
    Those with a score less than ``epsilon`` away and a cosine of at least ``min_cosine`` will do; it joins the most
    similar. The highest cosines merge first, up to ``max_merges`` per image. Ties go to the earlier patch, for
    neighbors and for merges.

    Bipartite soft matching (ToMe, arXiv 2210.09461), restricted to grid neighbors so that a merged token still has a
    place on the page. White patches never move, so one round cannot chain and melt a line of text into one token.
    """
    patches = grid**2
    index = torch.arange(patches, device=features.device)
    # bf16 has 8 bits of mantissa: near-ties would flip the matching.
    units = functional.normalize(features.float(), dim=-1).unflatten(1, (grid, grid))
    score_grid, open_grid = scores.unflatten(1, (grid, grid)), candidates.unflatten(1, (grid, grid))
    across = _edge_cosines(units, score_grid, open_grid, axis=2, epsilon=epsilon, min_cosine=min_cosine)
    down = _edge_cosines(units, score_grid, open_grid, axis=1, epsilon=epsilon, min_cosine=min_cosine)

    # Up, left, right, down: ascending index, so that the first of equal cosines is the earlier patch.
    pads = ((down, (0, 0, 1, 0)), (across, (1, 0)), (across, (0, 1)), (down, (0, 0, 0, 1)))
    cosines = torch.stack([functional.pad(edges, pad, value=-math.inf).flatten(1) for edges, pad in pads], dim=1)
    black = (index // grid + index % grid) % 2 == 1
    best, direction = cosines.masked_fill(~black, -math.inf).max(dim=1)
    targets = torch.stack((index - grid, index - 1, index + 1, index + grid))
    target = targets.expand(features.shape[0], -1, -1).gather(1, direction[:, None])[:, 0]

    order = best.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, index.expand_as(order))
    folds = (best > -math.inf) & (rank < max_merges[:, None])
    return torch.where(folds, target, index)


def merge_tokens(
    features: Float[Tensor, "batch patches dim"],
    boxes: Float32[Tensor, "batch patches 4"],
    scores: Float32[Tensor, "batch patches"],
    assignment: Int[Tensor, "batch patches"],
    *,
    grid: int,
) -> MergedTokens:
    """The tokens after folding each patch into the grid neighbor that ``match_checkerboard`` assigned to it.

    Every patch has an area of one, so weighted sums of features, centroids and scores are conserved. Each token
    collects from its four neighbors in a fixed order: scattering would be shorter, but on a GPU its sums depend on
    timing, and the same page must give the same prefix.
    """
    index = torch.arange(grid**2, device=features.device)
    areas = torch.ones_like(scores)
    feature_sum, score_sum = features.float(), scores
    center_sum, half = boxes[..., :2], boxes[..., 2:].flip(-1) / 2
    low, high = center_sum - half, center_sum + half
    corner_low, corner_high = low, high

    for offset in (-grid, -1, 1, grid):
        source = index + offset
        inside = (source >= 0) & (source < grid**2)
        source = source.clamp(0, grid**2 - 1)
        joins = inside & (assignment[:, source] == index)
        column = joins[..., None]
        areas = areas + joins
        feature_sum = torch.where(column, feature_sum + features[:, source], feature_sum)
        score_sum = torch.where(joins, score_sum + scores[:, source], score_sum)
        center_sum = torch.where(column, center_sum + boxes[:, source, :2], center_sum)
        corner_low = torch.where(column, torch.minimum(corner_low, low[:, source]), corner_low)
        corner_high = torch.where(column, torch.maximum(corner_high, high[:, source]), corner_high)

    stays = assignment == index
    # An unmerged patch keeps its box to the last bit; its corners would round.
    extent = torch.where((areas > 1)[..., None], (corner_high - corner_low).flip(-1), boxes[..., 2:])
    merged_boxes = torch.cat((center_sum / areas[..., None], extent), dim=-1)
    return MergedTokens(
        features=(feature_sum / areas[..., None] * stays[..., None]).to(features.dtype),
        boxes=merged_boxes * stays[..., None],
        scores=score_sum / areas * stays,
        areas=areas * stays,
    )


def _edge_cosines(
    units: Float32[Tensor, "batch rows columns dim"],
    scores: Float32[Tensor, "batch rows columns"],
    candidates: Bool[Tensor, "batch rows columns"],
    *,
    axis: int,
    epsilon: float,
    min_cosine: float,
) -> Float32[Tensor, "batch edge_rows edge_columns"]:
    """The cosine between each patch and the next along an axis; -inf where the two may not merge."""
    length = units.shape[axis] - 1
    cosines = (units.narrow(axis, 0, length) * units.narrow(axis, 1, length)).sum(dim=-1)
    close = (scores.narrow(axis, 0, length) - scores.narrow(axis, 1, length)).abs() < epsilon
    both = candidates.narrow(axis, 0, length) & candidates.narrow(axis, 1, length)
    return torch.where(close & both & (cosines >= min_cosine), cosines, -math.inf)
