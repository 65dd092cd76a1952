"""What of a page survives a choice of tokens: patches that some token still speaks for."""

import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from shirg.tokens import DualScaleTokens, TokenSet, patches_below

LEAST_COSINE = 0.9
"""A token still says what a patch showed if their features are at least this similar: the default guard of merging."""


def surviving_patches(dual: DualScaleTokens, tokens: TokenSet) -> Bool[Tensor, "batch patches"]:
    """True for patches with a detail token over them that still says what they show.

    A token is over a patch as ``patches_below`` says; it says the same if the cosine of their features is at least
    ``LEAST_COSINE``. So a kept patch survives, a merged one as long as it is like its partners, and one averaged into a
    grid cell only where the cell is uniform. Beside a ragged union a like patch may be counted that went elsewhere:
    about one in a page.
    """
    cosines = F.normalize(dual.detail.float(), dim=-1) @ F.normalize(tokens.features.float(), dim=-1).transpose(1, 2)
    return (patches_below(tokens, dual.boxes) & (cosines >= LEAST_COSINE)).any(-1)
