"""Rows of pages as single losses want them: all of their patches, or chosen by chance or by the truth."""

import torch
from torch import Tensor

from lavida_shirg_integration import EncodedPages
from llava.data.batch import Batch, draw_image_noise
from llava.train.losses.relevance import outcomes_wanted
from shirg.tokens import TokenSet
from shirg.transfer import to_device


def chance_similarity(rows: EncodedPages, batch: Batch, seed: int | None) -> Tensor | None:
    """(images, patches) noise in place of the similarity, in a step that chooses tokens at random; None in others."""
    if seed is None:
        return None
    shapes = [(count,) for count in rows.dual.num_patches]
    return to_device(draw_image_noise(batch, seed, shapes), rows.dual.detail.device)


def true_outcomes(rows: EncodedPages, batch: Batch) -> Tensor:
    """(images, patches, outcomes) float32: what a perfect relevance would find, as logarithms."""
    return (outcomes_wanted(batch, rows.dual.boxes) + _UNWANTED).log()


def every_token(rows: EncodedPages, features: Tensor) -> TokenSet:
    """All patches of each page as its detail tokens, with these features (batch, patches, dim)."""
    return TokenSet(
        features=features,
        boxes=rows.dual.boxes,
        areas=torch.ones(features.shape[:2], device=features.device),
        lengths=rows.dual.num_patches,
    )


_UNWANTED = 1e-4
"""Of patches that nothing is wanted of: few enough that even many of them together are not the answer."""
