"""Which of the masked positions a step settles.

Axis names: batch (samples), window (positions of the active block), vocab; states have further axes in front.
"""

import math

import torch
from torch import Tensor


def rank(scores: Tensor, masked: Tensor, *, later_first: bool = False) -> Tensor:
    """(..., window) place of each masked position in the order of its score, 0 the highest; settled ones come last.

    Args:
        later_first: of equal scores, the later position goes first, not the earlier one. Where tokens are read from the
            position before them and none stands before the first, that one borrows the guess of the second, and waits
            for it.
    """
    scores = scores.masked_fill(~masked, -torch.inf)
    if later_first:
        return rank(scores.flip(-1), masked.flip(-1)).flip(-1)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def commit_count(scores: Tensor, masked: Tensor, count: Tensor, *, later_first: bool = False) -> Tensor:
    """(..., window) the ``count`` (...) most confident masked positions; equal ones as in ``rank``."""
    return masked & (rank(scores, masked, later_first=later_first) < count[..., None])


def commit_share(noise: Tensor, masked: Tensor, share: Tensor) -> Tensor:
    """(..., window) the masked positions whose uniform noise lies below the share (,) that a step settles."""
    return masked & (noise < share)


def commit_above(log_odds: Tensor, masked: Tensor, threshold: float) -> Tensor:
    """(batch, window) masked positions whose probability exceeds the threshold, and the most probable in any case.

    Confidence-threshold decoding (Fast-dLLM, arXiv 2505.22618).
    """
    log_odds = log_odds.masked_fill(~masked, -torch.inf)
    best = torch.zeros_like(masked).scatter_(-1, log_odds.argmax(-1, keepdim=True), True)
    return masked & (best | (log_odds > math.log(threshold / (1 - threshold))))
