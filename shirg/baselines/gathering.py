"""From a decision to tokens: what the methods share."""

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from shirg.shirg_selector import select_top_tokens
from shirg.tokens import DualScaleTokens, TokenSet


def highest(dual: DualScaleTokens, scores: Float[Tensor, "batch patches"], *, keep: int) -> TokenSet:
    """The ``keep`` candidates with the highest scores, by the selector that SHIRG-X uses: ties to the earlier patch."""
    budget = torch.full((scores.shape[0],), keep, device=scores.device)
    index = select_top_tokens(
        scores.float(), keep=budget, candidates=dual.candidates, largest_keep=keep, grid=dual.grids[0], cells=(1, 1)
    )
    return gather_patches(dual, index)


def gather_patches(dual: DualScaleTokens, index: Int[Tensor, "batch keep"]) -> TokenSet:
    """The patches at these places, untouched and in raster order."""
    batch, keep = index.shape
    raster = index.sort(dim=1).values[..., None]
    return TokenSet(
        features=dual.detail.gather(1, raster.expand(-1, -1, dual.detail.shape[2])),
        boxes=dual.boxes.gather(1, raster.expand(-1, -1, 4)),
        areas=torch.ones(batch, keep, device=index.device),
        lengths=(keep,) * batch,
    )


def drop_empty(
    features: Float[Tensor, "batch tokens dim"],
    boxes: Float32[Tensor, "batch tokens 4"],
    areas: Float32[Tensor, "batch tokens"],
) -> TokenSet:
    """The tokens that stand for any patch, in their order. Waits for the device, since lengths are the host's."""
    real = areas > 0
    order = candidates_first(real)
    index, padding = order[..., None], ~real.gather(1, order)[..., None]
    return TokenSet(
        features=features.gather(1, index.expand(-1, -1, features.shape[2])).masked_fill(padding, 0.0),
        boxes=boxes.gather(1, index.expand(-1, -1, 4)).masked_fill(padding, 0.0),
        areas=areas.gather(1, order),
        lengths=tuple(real.sum(dim=1).tolist()),
    )


def candidates_first(candidates: Bool[Tensor, "batch patches"]) -> Int[Tensor, "batch patches"]:
    """The order that moves all others behind the candidates and leaves both in raster order."""
    # Some devices do not sort booleans.
    return candidates.byte().argsort(dim=1, descending=True, stable=True)
