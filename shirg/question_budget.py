"""How many detail tokens a question needs of a page, judged from how its relevance is spread.

A field lies in a few patches that stand out; a count is in half of the page. So the budget is the smallest on offer
that keeps a given share of all relevance.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from shirg.budget import feasible_budgets
from shirg.config import ShirgXConfig
from shirg.joining import together
from shirg.scoring import judged_patches, score_tokens
from shirg.shirg_selector import rank_patches
from shirg.tokens import DualScaleTokens
from shirg.transfer import to_device


def relevance_mass(
    similarity: Float[Tensor, "batch patches"],
    judged: Bool[Tensor, "batch patches"],
    inverse_temperature: float | None,
) -> Float32[Tensor, "batch patches"]:
    """What each patch has of its image's relevance, which adds up to 1; 0 for patches that are not judged.

    A softmax, because the similarity itself has a floor: thousands of patches that have nothing to do with the question
    would outweigh the few that have. Its temperature is the one at which the similarity was taught, and it is not
    scaled to [0, 1] before: how far the best patches stand above the rest is what tells a field from a count.

    Args:
        similarity: as a source finds it.
        inverse_temperature: the source's; None for a similarity that is a share of something already.
    """
    if inverse_temperature is not None:
        return (inverse_temperature * similarity.float()).masked_fill(~judged, -torch.inf).softmax(dim=1)
    shares = similarity.float().masked_fill(~judged, 0.0)
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def question_shares(
    dual: DualScaleTokens, similarity: Float[Tensor, "batch patches"], config: ShirgXConfig
) -> Float32[Tensor, "batch options"]:
    """The share of each image's relevance that is kept with each of ``question_budgets``.

    Args:
        similarity: unscaled, as a source finds it.
    """
    shares, places = [], []
    for index, part in dual.alike():
        rows = similarity
        if part is not dual:
            rows = rows[to_device(torch.tensor(index), rows.device), : part.detail.shape[1]]
        inked = part.inked if config.ink_first else None
        scores = score_tokens(rows, part.boxes, part.candidates, config, inked, grid=part.grids[0])
        mass = relevance_mass(rows, judged_patches(part.candidates, inked), config.source.inverse_temperature)
        order = rank_patches(scores.total, part.candidates, inked)
        shares.append(kept_shares(mass, order, config.question_budgets))
        places.append(index)
    return together(shares, places)


def kept_shares(
    mass: Float32[Tensor, "batch patches"], order: Int[Tensor, "batch patches"], budgets: Sequence[int]
) -> Float32[Tensor, "batch options"]:
    """The share of each image's mass that its first patches hold, for each number of them.

    Merging is left out, since a token that stands for several patches only keeps more.

    Args:
        order: the patches of each image, as they are chosen.
        budgets: numbers of patches; beyond the last patch all is kept.
    """
    kept = mass.gather(1, order).cumsum(dim=1)
    places = torch.tensor([min(budget, kept.shape[1]) - 1 for budget in budgets])
    return kept[:, to_device(places, kept.device)]


def smallest_budgets(
    shares: Float32[Tensor, "batch options"],
    budgets: Sequence[int],
    candidate_counts: Sequence[int],
    *,
    mass: float,
) -> tuple[int, ...]:
    """The smallest feasible budget of each image whose share reaches ``mass``, or its largest feasible one.

    Budgets set the shapes of what follows, so they come back as host numbers; this waits for the device once.
    """
    chosen = []
    for row, count in zip(shares.tolist(), candidate_counts, strict=True):
        offered = feasible_budgets(count, budgets)
        enough = (budget for share, budget in zip(row, offered, strict=False) if share >= mass)
        chosen.append(next(enough, offered[-1]))
    return tuple(chosen)
