"""How much each patch has to do with the question: the sources of the score's first term.

Each gives raw float32 similarities on a scale of its own; ``scoring`` brings them to [0, 1] per image. None reads the
answer, in training either: a prefix chosen by the answer could not be chosen when there is none yet.
"""

import math

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional


def projected_similarity(
    patches: Float[Tensor, "batch patches width"],
    words: Float[Tensor, "batch words width"],
    word_mask: Bool[Tensor, "batch words"],
) -> Float32[Tensor, "batch patches"]:
    """The highest cosine between a projected patch and the embeddings of the question's words.

    Both live in the language model's input space, so this needs no weights. The highest, not the mean: one word is
    enough to make a patch relevant. An image whose question has no words gets 0 everywhere.
    """
    return _highest_cosine(patches.float(), words.float(), word_mask)


def siglip_similarity(
    value_embeddings: Float[Tensor, "batch patches embedding"], text: Float[Tensor, "batch embedding"]
) -> Float32[Tensor, "batch patches"]:
    """The cosine between a patch, sent through SigLIP's pooling head by its value path, and the embedded question.

    The value path puts single patches into the space where SigLIP compares whole images with text (as MaskCLIP does for
    CLIP, arXiv 2112.01071).
    """
    question = text.float()[:, None]
    return _highest_cosine(value_embeddings.float(), question, torch.ones_like(question[..., 0], dtype=torch.bool))


def attention_similarity(attention_received: Float[Tensor, "batch patches"]) -> Float32[Tensor, "batch patches"]:
    """The mean attention a patch receives in a vision layer: what stands out, whatever is asked."""
    return attention_received.float()


class LearnedRelevance(nn.Module):
    """The highest cosine over the words between a patch and a word, both mapped to one small space.

    Inputs are normalized without learned parameters, since single channels of vision and word features are large
    enough to drown the rest. Both maps start with orthonormal rows: they then preserve angles about as well as their
    width allows, so that an untrained one gives similar patches similar scores, is never constant, and hands both
    maps a gradient from the first step. Its ranking means nothing until it is trained.
    """

    def __init__(self, vision_dim: int, word_dim: int, dim: int = 128) -> None:
        super().__init__()
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
        return _highest_cosine(mapped_patches, mapped_words, word_mask)


def _normalized(features: Float[Tensor, "batch any dim"]) -> Float32[Tensor, "batch any dim"]:
    return functional.layer_norm(features.float(), features.shape[-1:])


def _highest_cosine(
    patches: Float32[Tensor, "batch patches dim"],
    words: Float32[Tensor, "batch words dim"],
    word_mask: Bool[Tensor, "batch words"],
) -> Float32[Tensor, "batch patches"]:
    # Training runs under bf16 autocast, whose 8 bits of mantissa would tie patches that differ.
    with torch.autocast(patches.device.type, enabled=False):
        cosines = functional.normalize(patches, dim=-1) @ functional.normalize(words, dim=-1).transpose(1, 2)
    highest = cosines.masked_fill(~word_mask[:, None], -math.inf).amax(dim=2)
    return highest.masked_fill(~word_mask.any(dim=1, keepdim=True), 0.0)
