"""Merge, not drop: similar neighbors become one token that stands for all of them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn import functional

from shirg.tiling import Grid


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
    grid: Grid,
    epsilon: float,
    min_cosine: float,
    max_merges: Int[Tensor, "batch"],
    inked: Bool[Tensor, "batch patches"] | None = None,
) -> Int[Tensor, "batch patches"]:
    """The patch that each patch is folded into, which is itself for all that stay.

    On a checkerboard whose first square is white, every black candidate looks at its up to four white neighbors.
    Those with a score less than ``epsilon`` away and a cosine of at least ``min_cosine`` will do; it joins the most
    similar. The highest cosines merge first, up to ``max_merges`` per image. Ties go to the earlier patch, for
    neighbors and for merges. Where ``inked`` is given, ink and blank paper never merge.

    Bipartite soft matching (ToMe, arXiv 2210.09461), restricted to grid neighbors so that a merged token still has a
    place on the page. White patches never move, so one round cannot chain and melt a line of text into one token.
    """
    columns = grid[1]
    index = torch.arange(math.prod(grid), device=features.device)
    # bf16 has 8 bits of mantissa: near-ties would flip the matching.
    units = functional.normalize(features.float(), dim=-1).unflatten(1, grid)
    # A patch that may not merge is infinitely far from all scores, and from its like not comparable.
    heights = scores.masked_fill(~candidates, math.inf).unflatten(1, grid)
    across = _edge_cosines(units, heights, axis=2, epsilon=epsilon)
    down = _edge_cosines(units, heights, axis=1, epsilon=epsilon)
    if inked is not None:
        ink = inked.unflatten(1, grid)
        across = across.masked_fill(ink[:, :, 1:] != ink[:, :, :-1], -math.inf)
        down = down.masked_fill(ink[:, 1:] != ink[:, :-1], -math.inf)

    # Up, left, right, down: ascending index, so that the first of equal cosines is the earlier patch.
    pads = ((down, (0, 0, 1, 0)), (across, (1, 0)), (across, (0, 1)), (down, (0, 0, 0, 1)))
    cosines = torch.stack([functional.pad(edges, pad, value=-math.inf).flatten(1) for edges, pad in pads], dim=1)
    best, direction = cosines.max(dim=1)
    white = (index // columns + index % columns) % 2 == 0
    best = best.masked_fill(white, -math.inf)
    targets = torch.stack((index - columns, index - 1, index + 1, index + columns))
    target = targets.expand(features.shape[0], -1, -1).gather(1, direction[:, None])[:, 0]

    order = best.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, index.expand_as(order))
    folds = (best >= min_cosine) & (rank < max_merges[:, None])
    return torch.where(folds, target, index)


def merge_tokens(
    features: Float[Tensor, "batch patches dim"],
    boxes: Float32[Tensor, "batch patches 4"],
    scores: Float32[Tensor, "batch patches"],
    assignment: Int[Tensor, "batch patches"],
    *,
    grid: Grid,
) -> MergedTokens:
    """The tokens after folding each patch into the grid neighbor that ``match_checkerboard`` assigned to it.

    Every patch has an area of one, so weighted sums of features, centroids and scores are conserved. Each token
    collects from its four neighbors in a fixed order: scattering would be shorter, but on a GPU its sums depend on
    timing, and the same page must give the same prefix.
    """
    stays = assignment == torch.arange(math.prod(grid), device=features.device)
    # All sums are taken at once, and no patch is gathered: a launch costs a GPU's host more than its arithmetic.
    summands = torch.cat((features.float(), boxes[..., :2], scores[..., None], torch.ones_like(scores)[..., None]), -1)
    sums = _add_folded_neighbors(summands.unflatten(1, grid), assignment.unflatten(1, grid)).flatten(1, 2)
    areas = sums[..., -1]
    means = sums[..., :-1] / areas.masked_fill(~stays, math.inf)[..., None]

    half = boxes[..., 2:].flip(-1) / 2
    corners = torch.cat((half - boxes[..., :2], half + boxes[..., :2]), dim=-1)
    # The largest of some numbers is the same in any order, unlike their sum.
    corners = corners.scatter_reduce(1, assignment[..., None].expand(-1, -1, 4), corners, "amax")
    # An unmerged patch keeps its box to the last bit; its corners would round.
    union = (corners[..., :2] + corners[..., 2:]).flip(-1)
    extent = torch.where((areas > 1)[..., None], union, boxes[..., 2:]) * stays[..., None]
    return MergedTokens(
        features=means[..., :-3].to(features.dtype),
        boxes=torch.cat((means[..., -3:-1], extent), dim=-1),
        scores=means[..., -1],
        areas=areas * stays,
    )


def _add_folded_neighbors(
    values: Float32[Tensor, "batch rows columns dim"], assignment: Int[Tensor, "batch rows columns"]
) -> Float32[Tensor, "batch rows columns dim"]:
    """Every patch's values plus those of the patches folded into it: from above, left, right and below, in turn."""
    grid = values.shape[1:3]
    index = torch.arange(math.prod(grid), device=values.device).view(1, *grid)
    sums = values.clone()
    for axis, source, target in ((1, 0, 1), (2, 0, 1), (2, 1, 0), (1, 1, 0)):
        length = values.shape[axis] - 1
        joins = assignment.narrow(axis, source, length) == index.narrow(axis, target, length)
        sums.narrow(axis, target, length).addcmul_(values.narrow(axis, source, length), joins[..., None].float())
    return sums


def _edge_cosines(
    units: Float32[Tensor, "batch rows columns dim"],
    scores: Float32[Tensor, "batch rows columns"],
    *,
    axis: int,
    epsilon: float,
) -> Float32[Tensor, "batch edge_rows edge_columns"]:
    """The cosine between each patch and the next along an axis; -inf where their scores are not close."""
    length = units.shape[axis] - 1
    cosines = (units.narrow(axis, 0, length) * units.narrow(axis, 1, length)).sum(dim=-1)
    close = (scores.narrow(axis, 0, length) - scores.narrow(axis, 1, length)).abs() < epsilon
    return cosines.masked_fill(~close, -math.inf)
