"""How many detail tokens a question needs of a page, judged from how its relevance is spread.

A field lies in a few patches that stand out; a count is in half of the page. So the budget is the smallest on offer
that keeps a given share of all relevance.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from shirg.config import ShirgXConfig
from shirg.scoring import Scores, judged_patches, score_tokens
from shirg.shirg_selector import feasible_budgets, rank_patches
from shirg.tokens import DualScaleTokens
from shirg.transfer import to_device

SHARPNESS = 12.0
"""How much the relevance is worth at the top of a page's similarity than at its foot, as a power of e."""


def relevance_mass(
    similarity: Float32[Tensor, "batch patches"], judged: Bool[Tensor, "batch patches"]
) -> Float32[Tensor, "batch patches"]:
    """What each patch has of its image's relevance, which adds up to 1; 0 for patches that are not judged.

    A softmax, because the similarity itself has a floor: thousands of patches that have nothing to do with the question
    would outweigh the few that have.

    Args:
        similarity: scaled to [0, 1] per image, as in ``Scores``.
    """
    return (SHARPNESS * similarity).masked_fill(~judged, -torch.inf).softmax(dim=1)


def question_shares(
    dual: DualScaleTokens, similarity: Float[Tensor, "batch patches"], config: ShirgXConfig
) -> Float32[Tensor, "batch options"]:
    """The share of each image's relevance that is kept with each of ``question_budgets``.

    Args:
        similarity: unscaled, as a source finds it.
    """
    inked = dual.inked if config.ink_first else None
    scores = score_tokens(similarity, dual.boxes, dual.candidates, config, inked)
    return kept_shares(scores, dual.candidates, config.question_budgets, inked)


def kept_shares(
    scores: Scores,
    candidates: Bool[Tensor, "batch patches"],
    budgets: Sequence[int],
    inked: Bool[Tensor, "batch patches"] | None = None,
) -> Float32[Tensor, "batch options"]:
    """The share of each image's relevance that its best patches hold, for each number of them.

    Merging is left out, since a token that stands for several patches only keeps more.

    Args:
        budgets: numbers of patches; those beyond an image's candidates keep what all of them hold.
    """
    mass = relevance_mass(scores.similarity, judged_patches(candidates, inked))
    order = rank_patches(scores.total, candidates, inked)
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

    Raises:
        ValueError: if an image has too few candidates for any of the budgets.
    """
    chosen = []
    for image, (row, count) in enumerate(zip(shares.tolist(), candidate_counts, strict=True)):
        try:
            offered = feasible_budgets(count, budgets)
        except ValueError as error:
            raise ValueError(f"image {image}: {error}") from error
        enough = (budget for share, budget in zip(row, offered, strict=False) if share >= mass)
        chosen.append(next(enough, offered[-1]))
    return tuple(chosen)
