"""What sources of similarity read.

Axis names: batch (images), patches, dim (vision width), words (of the question), width (language width), embedding (of
SigLIP's text tower).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional

NEVER = -1e3
"""A relevance that no softmax notices, and that leaves gradients finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceInputs:
    """What sources read. The caller fills in what the source at hand needs, and leaves out the rest."""

    patches: Float[Tensor, "batch patches dim"]
    """Features of the vision tower, before the projector."""
    projected: Float[Tensor, "batch patches width"] | None = None
    """The same behind the projector."""
    words: Float[Tensor, "batch words width"] | None = None
    """Embeddings of the question's words, the language model's."""
    word_mask: Bool[Tensor, "batch words"] | None = None
    """True where there is a word."""
    text: Float[Tensor, "batch embedding"] | None = None
    """The question, embedded by SigLIP's text tower."""
    attention: Float[Tensor, "batch patches"] | None = None
    """Mean attention that each patch receives in a vision layer."""
    values: Float[Tensor, "batch patches embedding"] | None = None
    """Patches sent through the pooling head's value path."""
    weights: nn.Module | None = None
    """The source's own, where it has any."""


def highest_cosine(
    patches: Float32[Tensor, "batch patches dim"],
    words: Float32[Tensor, "batch words dim"],
    word_mask: Bool[Tensor, "batch words"],
) -> Float32[Tensor, "batch patches"]:
    """The highest cosine of each patch with any word; 0 in an image whose question has none."""
    # Training runs under bf16 autocast, whose 8 bits of mantissa would tie patches that differ.
    with torch.autocast(patches.device.type, enabled=False):
        cosines = functional.normalize(patches, dim=-1) @ functional.normalize(words, dim=-1).transpose(1, 2)
    highest = cosines.masked_fill(~word_mask[:, None], -math.inf).amax(dim=2)
    return highest.masked_fill(~word_mask.any(dim=1, keepdim=True), 0.0)
