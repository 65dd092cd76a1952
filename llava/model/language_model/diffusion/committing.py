"""Which of the masked positions a step settles.

Axis names: batch (samples), window (positions of the active block), vocab; states have further axes in front.
"""

import math

import torch
from torch import Tensor


def rank(scores: Tensor, masked: Tensor) -> Tensor:
    """(..., window) place of each masked position in the order of its score, 0 the highest; equal scores go to the
    earlier one. Settled positions come behind all others."""
    order = scores.masked_fill(~masked, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def commit_count(scores: Tensor, masked: Tensor, count: Tensor) -> Tensor:
    """(..., window) the ``count`` (...) most confident masked positions."""
    return masked & (rank(scores, masked) < count[..., None])


def commit_above(log_odds: Tensor, masked: Tensor, threshold: float) -> Tensor:
    """(batch, window) masked positions whose probability exceeds the threshold, and the most probable in any case.

    Confidence-threshold decoding (Fast-dLLM, arXiv 2505.22618).
    """
    log_odds = log_odds.masked_fill(~masked, -torch.inf)
    best = torch.zeros_like(masked).scatter_(-1, log_odds.argmax(-1, keepdim=True), True)
    return masked & (best | (log_odds > math.log(threshold / (1 - threshold))))


def commit_entropy_bounded(logits: Tensor, log_odds: Tensor, masked: Tensor, bound: float) -> Tensor:
    """(batch, window) the surest masked positions whose entropies, but for the largest, add up to at most ``bound``.

    EB-Sampler (arXiv 2505.24857): that sum bounds what is lost by settling them independently.
    """
    log_probabilities = logits.log_softmax(-1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
    places = rank(-entropy, masked)
    # In the order of entropy the largest so far is the newest, so that the sum before it is what counts.
    by_place = torch.zeros_like(entropy).scatter(-1, places, entropy.masked_fill(~masked, 0.0))
    before = (by_place.cumsum(-1) - by_place).gather(-1, places)
    return masked & (before <= bound)


def commit_behind_gap(logits: Tensor, log_odds: Tensor, masked: Tensor, scale: float) -> Tensor:
    """(batch, window) all masked positions, once the lead of the best logit over the second is large on average; else
    the most probable one.

    Prophet (arXiv 2508.19982): 7.5, 5 and 2.5, times ``scale``, in the first, second and last third of the positions.
    """
    best = logits.topk(2, -1).values
    lead = (best[..., 0] - best[..., 1]).masked_fill(~masked, 0.0).sum(-1) / masked.sum(-1).clamp(min=1)
    third = ((~masked).float().mean(-1) * 3).long().clamp(max=2)
    wanted = torch.tensor([7.5, 5.0, 2.5], device=logits.device)[third] * scale
    first = torch.zeros_like(masked).scatter_(
        -1, log_odds.masked_fill(~masked, -torch.inf).argmax(-1, keepdim=True), True
    )
    return masked & (first | (lead >= wanted)[..., None])


RULES = {
    "threshold": lambda logits, log_odds, masked, value: commit_above(log_odds, masked, value),
    "entropy_bound": commit_entropy_bounded,
    "gap": commit_behind_gap,
}
