"""Projected patches against the question's words, in the language model's own input space."""

from jaxtyping import Bool, Float, Float32
from torch import Tensor

from shirg.sources.inputs import SourceInputs, highest_cosine


def projected_similarity(
    patches: Float[Tensor, "batch patches width"],
    words: Float[Tensor, "batch words width"],
    word_mask: Bool[Tensor, "batch words"],
) -> Float32[Tensor, "batch patches"]:
    """The highest cosine between a projected patch and the embeddings of the question's words.

    Both live in the language model's input space, so this needs no weights. The highest, not the mean: one word is
    enough to make a patch relevant. An image whose question has no words gets 0 everywhere.
    """
    return highest_cosine(patches.float(), words.float(), word_mask)


def score(inputs: SourceInputs) -> Tensor:
    """The entry's ``score``."""
    assert inputs.projected is not None
    assert inputs.words is not None
    assert inputs.word_mask is not None
    return projected_similarity(inputs.projected, inputs.words, inputs.word_mask)
