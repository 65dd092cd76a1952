"""Patches against the question's words, both mapped to a small space that training finds."""

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from shirg.sources.inputs import SourceInputs, highest_cosine


class LearnedRelevance(nn.Module):
    """The highest cosine over the words between a patch and a word, both mapped to one small space.

    With several heads the space has as many parts, each with a highest cosine of its own, and the relevance is their
    mean: one maximum says that a patch has to do with some word of the question, but what a table is asked for has to
    do with two, its row and its column. Heads as in Vaswani et al., "Attention is all you need", 2017.

    Inputs are normalized without learned parameters, since single channels of vision and word features are large
    enough to drown the rest. Both maps start with orthonormal rows: they then preserve angles about as well as their
    width allows, so that an untrained one gives similar patches similar scores, is never constant, and hands both
    maps a gradient from the first step. Its ranking means nothing until it is trained.
    """

    def __init__(self, vision_dim: int, word_dim: int, dim: int = 128, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.patch_map = nn.Linear(vision_dim, dim, bias=False)
        self.word_map = nn.Linear(word_dim, dim, bias=False)
        nn.init.orthogonal_(self.patch_map.weight)
        nn.init.orthogonal_(self.word_map.weight)

    def forward(
        self,
        patches: Float[Tensor, "batch patches vision"],
        words: Float[Tensor, "batch words word"],
        word_mask: Bool[Tensor, "batch words"],
    ) -> Float32[Tensor, "batch patches"]:
        """Relevance in [-1, 1], in float32 whatever the dtype of the weights; 0 for a question without words."""
        with torch.autocast(patches.device.type, enabled=False):
            mapped_patches = functional.linear(_normalized(patches), self.patch_map.weight.float())
            mapped_words = functional.linear(_normalized(words), self.word_map.weight.float())
        parts = zip(mapped_patches.chunk(self.heads, -1), mapped_words.chunk(self.heads, -1), strict=True)
        return torch.stack([highest_cosine(*part, word_mask) for part in parts]).mean(0)


def _normalized(features: Float[Tensor, "batch any dim"]) -> Float32[Tensor, "batch any dim"]:
    return functional.layer_norm(features.float(), features.shape[-1:])


def score(inputs: SourceInputs) -> Tensor:
    """The entry's ``score``."""
    assert inputs.weights is not None
    return inputs.weights(inputs.patches, inputs.words, inputs.word_mask)
