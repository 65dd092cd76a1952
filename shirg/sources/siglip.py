"""Patches against the whole question, in the space of SigLIP's text tower."""

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from shirg.sources.inputs import SourceInputs, highest_cosine


def siglip_similarity(
    value_embeddings: Float[Tensor, "batch patches embedding"], text: Float[Tensor, "batch embedding"]
) -> Float32[Tensor, "batch patches"]:
    """The cosine between a patch, sent through SigLIP's pooling head by its value path, and the embedded question.

    The value path puts single patches into the space where SigLIP compares whole images with text (as MaskCLIP does for
    CLIP, arXiv 2112.01071).
    """
    question = text.float()[:, None]
    return highest_cosine(value_embeddings.float(), question, torch.ones_like(question[..., 0], dtype=torch.bool))


def score(inputs: SourceInputs) -> Tensor:
    """The entry's ``score``."""
    assert inputs.values is not None
    assert inputs.text is not None
    return siglip_similarity(inputs.values, inputs.text)
