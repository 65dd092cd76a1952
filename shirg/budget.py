"""How many detail tokens an image needs, judged from how much there is to see in it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from shirg.joining import group_alike, join_views, together
from shirg.tiling import Grid

NUM_BINS = 16
POOLED_SIDE = 32
HIDDEN = 32


def patch_entropy(
    pixels: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"], *, patch_size: int
) -> Float32[Tensor, "batch rows columns"]:
    """The Shannon entropy of each patch's luma: 0 for a blank patch, 1 when all 16 shades are equally common.

    Pixels are red, green, blue from 0 to 255; floats are rounded to the 8-bit values they stand for, so that undoing a
    normalization gives the same map. Luma is ITU-R BT.601's.

    Raises:
        ValueError: if the patches do not tile the image.
    """
    height, width = pixels.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(f"patches of {patch_size} pixels do not tile an image of {width} x {height}")
    red, green, blue = pixels.float().round().unbind(1)
    # Whole-number weights keep float32 exact, so that a gray on the edge of a bin always falls on the same side.
    thousandths = 299 * red + 587 * green + 114 * blue
    shades = (thousandths * NUM_BINS / 256_000).floor().long().clamp(0, NUM_BINS - 1)
    patches = shades.unflatten(2, (-1, patch_size)).unflatten(1, (-1, patch_size)).transpose(2, 3).flatten(3)
    counts = torch.zeros(*patches.shape[:3], NUM_BINS, device=pixels.device)
    counts.scatter_add_(3, patches, torch.ones_like(patches, dtype=counts.dtype))
    return torch.special.entr(counts / patch_size**2).sum(3) / math.log(NUM_BINS)


class BudgetHead(nn.Module):
    """One logit per budget, from the map of patch entropies.

    Any grid is pooled to 32 x 32, so that one head serves all. The output layer starts at zero: an untrained head is
    undecided, which ``predict_budgets`` settles by keeping the most detail.
    """

    def __init__(self, num_budgets: int = 3) -> None:
        super().__init__()
        self.hidden = nn.Linear(POOLED_SIDE**2, HIDDEN)
        self.out = nn.Linear(HIDDEN, num_budgets)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, entropy: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch options"]:
        """The logits, in the dtype of the weights."""
        pooled = _pooled(entropy).flatten(1)
        return self.out(functional.gelu(self.hidden(pooled.to(self.hidden.weight.dtype))))


def page_maps(entropy: Float32[Tensor, "views rows columns"], grids: Sequence[Grid]) -> Float32[Tensor, "batch 32 32"]:
    """What the head looks at of every page: its views' entropies, joined to one map and pooled.

    Args:
        grids: rows and columns of patches of each page.
    """
    view = (entropy.shape[1], entropy.shape[2])
    maps, groups = join_views(entropy.flatten(1), grids, view=view), group_alike(grids)
    parts = [_pooled(maps[pages, : math.prod(grid)].unflatten(1, grid)) for grid, pages in groups.items()]
    return together(parts, list(groups.values()))


def _pooled(entropy: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch 32 32"]:
    # Of a map that is pooled already it is the same map.
    return functional.adaptive_avg_pool2d(entropy, (POOLED_SIDE, POOLED_SIDE))


def feasible_budgets(num_candidates: int, budgets: Sequence[int]) -> tuple[int, ...]:
    """The budgets that an image with so many candidate patches can fill; all its patches where it can fill none."""
    return tuple(budget for budget in budgets if budget <= num_candidates) or (num_candidates,)


def predict_budgets(
    logits: Float[Tensor, "batch options"], budgets: Sequence[int], candidate_counts: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The budget of each image: the one with the highest logit, the largest where logits are equal.

    Budgets set the shapes of what follows, so they come back as host numbers; this waits for the device once.

    Args:
        candidate_counts: patches of each image that may be kept, where some images cannot fill every budget.

    Raises:
        ValueError: if there is not one logit per budget.
    """
    if logits.shape[1] != len(budgets):
        raise ValueError(f"the head gives {logits.shape[1]} logits for {len(budgets)} budgets, {tuple(budgets)}")
    counts = candidate_counts or [max(budgets)] * logits.shape[0]
    chosen = []
    for row, count in zip(logits.tolist(), counts, strict=True):
        offered = feasible_budgets(count, budgets)
        ranked = [(logit, budget) for logit, budget in zip(row, budgets, strict=True) if budget in offered]
        chosen.append(max(ranked)[1] if ranked else count)
    return tuple(chosen)
