"""The budget loss: a head that sees the page alone learns the smallest budget that would have done.

Axis names: images, draws (of noise), budgets (ascending).
"""

import torch.nn.functional as F
from torch import Tensor

LEAST_DRAWS = 4


def budget_labels(losses: Tensor, *, slack: float = 0.02) -> Tensor:
    """(images,) int64: index of the smallest budget that will do, by losses averaged over noise draws.

    Args:
        losses: (draws, images, budgets) float32, the denoising loss measured with the same noise at each budget.
        slack: a budget will do when its loss is within this share of the best budget's.

    Raises:
        ValueError: if there are fewer than 4 draws: single draws differ by more than the budgets do.
    """
    if losses.shape[0] < LEAST_DRAWS:
        raise ValueError(f"a budget is measured over at least {LEAST_DRAWS} noise draws, got {losses.shape[0]}")
    mean = losses.float().mean(0)
    enough = mean <= mean.amin(-1, keepdim=True) * (1 + slack)
    return enough.int().argmax(-1)


def budget_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropies (images,) float32 of the head's logits (images, budgets) with measured labels (images,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")
