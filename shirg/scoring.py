"""How good a patch looks: relevance to the question, less its distance from what is relevant and from the center."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn import functional

from shirg.config import ShirgXConfig
from shirg.tiling import Grid

PATCHES_PER_ANCHOR = 36
CENTER = 0.5
_PATCHES_AT_ONCE = 2304
ROUNDING = 1e-5
"""Spreads below this share of the largest value are what float32 products leave on equal patches."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The score of every patch, and the unweighted terms it is made of. Only candidates' values mean anything."""

    total: Float32[Tensor, "batch patches"]
    similarity: Float32[Tensor, "batch patches"]
    """In [0, 1] per image."""
    neighbor_distance: Float32[Tensor, "batch patches"]
    """Distance to p_j, in units of the page."""
    center_distance: Float32[Tensor, "batch patches"]
    """Distance to the center of the page, in units of the page."""
    anchor_index: Int[Tensor, "batch anchors"]
    """The patches that p_j is chosen from, highest first, then -1."""

    @property
    def anchors(self) -> Bool[Tensor, "batch patches"]:
        """True at the patches that p_j is chosen from."""
        patches = self.total.shape[1]
        # One slot too many takes the missing ones, which keeps the shape independent of the data.
        mask = self.total.new_zeros((len(self.total), patches + 1), dtype=torch.bool)
        return mask.scatter(1, self.anchor_index.masked_fill(self.anchor_index < 0, patches), True)[:, :patches]


def score_tokens(
    similarity: Float[Tensor, "batch patches"],
    boxes: Float32[Tensor, "batch patches 4"],
    candidates: Bool[Tensor, "batch patches"],
    config: ShirgXConfig,
    inked: Bool[Tensor, "batch patches"] | None = None,
    *,
    grid: Grid,
) -> Scores:
    """s_i = 0.7 Sim_i - 0.2 ||p_i - p_j|| - 0.1 ||p_i - c|| for every patch, with the configured weights.

    p_j is the nearest anchor, a peak of the similarity, so that detail gathers around what the question is about.
    Averaged over all patches instead (``neighbor: mean``) the term ranks patches as the center term does.

    Where ``inked`` is given, inked patches are scored as if there were no others: the similarity is scaled among them,
    and the p_j are found among them, so that nothing a relevance says of blank paper moves their order. Blank ones,
    which rank behind them, have their similarity scaled among themselves, and the same p_j. An image without ink, or
    with nothing but ink, is scored as if ``inked`` had not been given.

    Raises:
        ValueError: if the patches are not those of the grid.
    """
    if similarity.shape[1] != math.prod(grid):
        raise ValueError(
            f"a grid of {grid[0]} x {grid[1]} has {math.prod(grid)} patches, but similarity holds {similarity.shape[1]}"
        )
    if inked is None:
        scaled = normalize_similarity(similarity, candidates)
    else:
        ink = candidates & inked
        # Each is 0 where the other is not.
        scaled = normalize_similarity(similarity, ink) + normalize_similarity(similarity, candidates & ~inked)
        candidates = judged_patches(candidates, inked)
    anchor_index = find_anchors(scaled, candidates, grid=grid)
    centers = boxes[..., :2]
    if config.neighbor == "anchor":
        neighbor_distance = _nearest_anchor_distance(centers, anchor_index)
    else:
        neighbor_distance = _mean_distance(centers, candidates)
    center_distance = torch.linalg.vector_norm(centers - CENTER, dim=-1)
    return Scores(
        total=config.similarity_weight * scaled
        - config.neighbor_weight * neighbor_distance
        - config.center_weight * center_distance,
        similarity=scaled,
        neighbor_distance=neighbor_distance,
        center_distance=center_distance,
        anchor_index=anchor_index,
    )


def judged_patches(
    candidates: Bool[Tensor, "batch patches"], inked: Bool[Tensor, "batch patches"] | None
) -> Bool[Tensor, "batch patches"]:
    """The patches that a choice begins with: the inked candidates of an image that has some, else all candidates."""
    if inked is None:
        return candidates
    ink = candidates & inked
    return torch.where(ink.any(dim=1, keepdim=True), ink, candidates)


def normalize_similarity(
    similarity: Float[Tensor, "batch patches"], candidates: Bool[Tensor, "batch patches"]
) -> Float32[Tensor, "batch patches"]:
    """The similarity scaled so that each image's candidates span [0, 1]; 0 for a constant image and for other patches.

    Constant means up to rounding: stretching the last bits of equal patches to [0, 1] would rank them by noise.
    """
    similarity = similarity.float()
    excluded = ~candidates
    low = similarity.masked_fill(excluded, math.inf).amin(dim=1, keepdim=True)
    high = similarity.masked_fill(excluded, -math.inf).amax(dim=1, keepdim=True)
    span = high - low
    constant = span <= ROUNDING * torch.maximum(low.abs(), high.abs())
    # Dividing by a span of zero would leave a gradient of NaN, though its quotient is not used.
    return ((similarity - low) / span.masked_fill(constant, 1.0)).masked_fill(excluded | constant, 0.0)


def find_anchors(
    similarity: Float32[Tensor, "batch patches"], candidates: Bool[Tensor, "batch patches"], *, grid: Grid
) -> Int[Tensor, "batch anchors"]:
    """The patches whose similarity is strictly above all their 3 x 3 neighbors', highest first, then -1.

    There are at most ceil(patches / 36), 64 on a 48 x 48 grid; of equal peaks the earlier patch comes first.
    """
    heights = similarity.masked_fill(~candidates, -math.inf)
    padded = functional.pad(heights.view(-1, 1, *grid), (1, 1, 1, 1), value=-math.inf)
    windows = functional.unfold(padded, kernel_size=3)
    surroundings = torch.maximum(windows[:, :4].amax(dim=1), windows[:, 5:].amax(dim=1))
    peaks = heights.masked_fill(heights <= surroundings, -math.inf)
    limit = math.ceil(math.prod(grid) / PATCHES_PER_ANCHOR)
    heights, index = torch.sort(peaks, dim=1, descending=True, stable=True)
    return index[:, :limit].masked_fill(heights[:, :limit] == -math.inf, -1)


def term_spread(
    scores: Scores, candidates: Bool[Tensor, "batch patches"], config: ShirgXConfig
) -> dict[str, Float32[Tensor, "batch"]]:
    """The standard deviation of each weighted term over an image's candidates.

    A term whose spread is far below the others' never changes the order: it is idle, and worth a line in the debug log.
    """
    terms = {
        "similarity": config.similarity_weight * scores.similarity,
        "neighbor": config.neighbor_weight * scores.neighbor_distance,
        "center": config.center_weight * scores.center_distance,
    }
    return {name: _masked_deviation(term, candidates) for name, term in terms.items()}


def _nearest_anchor_distance(
    centers: Float32[Tensor, "batch patches 2"], anchor_index: Int[Tensor, "batch anchors"]
) -> Float32[Tensor, "batch patches"]:
    """Distance to the nearest anchor; 0 in an image without any."""
    missing = anchor_index < 0
    places = centers.gather(1, anchor_index.clamp(min=0)[..., None].expand(-1, -1, 2))
    nearest = _distances(centers, places).masked_fill(missing[:, None], math.inf).amin(dim=2)
    return nearest.masked_fill(missing.all(dim=1, keepdim=True), 0.0)


def _mean_distance(
    centers: Float32[Tensor, "batch patches 2"], candidates: Bool[Tensor, "batch patches"]
) -> Float32[Tensor, "batch patches"]:
    """Mean distance to all candidates."""
    excluded = ~candidates[:, None]
    # A view's patches at a time: all pairs of a tiled page would take gigabytes.
    parts = [
        _distances(part, centers).masked_fill(excluded, 0.0).sum(dim=2) for part in centers.split(_PATCHES_AT_ONCE, 1)
    ]
    total = torch.cat(parts, dim=1)
    return total / candidates.sum(dim=1, keepdim=True).clamp(min=1)


def _distances(
    start: Float32[Tensor, "batch patches 2"], end: Float32[Tensor, "batch places 2"]
) -> Float32[Tensor, "batch patches places"]:
    # cdist multiplies matrices, which puts a patch 1e-4 away from itself, or takes 15 % of a training step on a GPU.
    across, down = (start[:, :, None, axis] - end[:, None, :, axis] for axis in range(2))
    return across.square_().add_(down.square_()).sqrt_()


def _masked_deviation(
    values: Float32[Tensor, "batch patches"], mask: Bool[Tensor, "batch patches"]
) -> Float32[Tensor, "batch"]:
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    deviation = (values - (values * mask).sum(dim=1, keepdim=True) / count) * mask
    return (deviation.square().sum(dim=1) / count[:, 0]).sqrt()
