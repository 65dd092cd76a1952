"""What a source of similarity is: how much each patch has to do with the question, and what it reads to tell.

A source gives raw float32 similarities on a scale of its own; ``scoring`` brings them to [0, 1] per image. None reads
the answer, in training either: a prefix chosen by the answer could not be chosen when there is none yet.

Axis names: batch (images), patches, dim (vision width), words (of the question), width (language width), embedding (of
SigLIP's text tower).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional

Need = Literal["projected", "words", "text", "attention", "values"]


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


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way to tell what matters; another one is a file and an entry of ``SOURCES``."""

    score: Callable[[SourceInputs], Tensor]
    """(batch, patches) float32."""
    needs: frozenset[Need]
    weights: Callable[[int, int, int], nn.Module] | None = None
    """Makes its fresh weights from (vision width, language width, relevance_dim); None for a source without any."""

    @property
    def reads_question(self) -> bool:
        """Whether another question may give other similarities."""
        return not self.needs.isdisjoint(("words", "text"))


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
