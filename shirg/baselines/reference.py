"""The two ends of the scale: every patch, and none beside the scaffold."""

import torch

from shirg.baselines.gathering import drop_empty
from shirg.tokens import DualScaleTokens, TokenSet


def all_patches(dual: DualScaleTokens) -> TokenSet:
    """Every candidate patch of each image: what detail is worth where its cost does not matter.

    Waits once for the device, since padded pages have fewer patches.
    """
    return drop_empty(dual.detail, dual.boxes, dual.candidates.float())


def no_detail(dual: DualScaleTokens) -> TokenSet:
    """No detail token at all: what the scaffold does alone."""
    batch = dual.detail.shape[0]
    return TokenSet(
        features=dual.detail[:, :0],
        boxes=dual.boxes[:, :0],
        areas=torch.zeros(batch, 0, device=dual.detail.device),
        lengths=(0,) * batch,
    )
