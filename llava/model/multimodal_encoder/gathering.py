"""What patches belong to, in the language model's words: gathered along the tower's own attention.

A patch shows two or three characters. A word is named by all of its patches together, and a cell by words at the far
end of its row and its column; put into one vector they drown each other. Where the tower's attention has learned to
look at the patches of a word (``losses.words``) and at labels (``losses.labeling``), what they show can be carried
along it: every patch says what it shows as a part of a word, a head adds this up over the word, and heads behind it
fetch the words of the labels. A bag of codes of characters and of pairs is a word's code (``word_codes``).

Axis names: batch (views), patches (raster order), dim (vision width), gathered (language width).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from shirg.tokens import GATHERED

WORD_HEAD, LABEL_HEADS = 0, (0, 1)
"""Heads that are gathered along: of the layer before the last that runs, and of the last, for rows and for columns."""


class WordGathering(nn.Module):
    """Appends a vector in the space of the language model's words for each of ``GATHERED``.

    Released towers have none; ``mm_vision_config: {gathered_dim: ...}`` gives one to a tower that is trained.
    """

    def __init__(self, dim: int, gathered: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.read = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, gathered))

    def forward(
        self, features: Tensor, layers: tuple[SiglipEncoderLayer, SiglipEncoderLayer], given: tuple[Tensor, Tensor]
    ) -> Tensor:
        """(batch, patches, dim + 3 gathered).

        Args:
            features: (batch, patches, dim), the tower's output.
            layers: the last two that run.
            given: (batch, patches, dim) each, what they were given.
        """
        before, last = layers
        words = carry(before, given[0], WORD_HEAD, self.read(self.norm(features)))
        labels = [carry(last, given[1], head, words) for head in LABEL_HEADS]
        return torch.cat([features, words, *labels], dim=-1)


def carry(layer: SiglipEncoderLayer, hidden: Tensor, head: int, values: Tensor) -> Tensor:
    """(batch, patches, any): the mean of ``values`` (batch, patches, any) by one head's attention over ``hidden``."""
    attention = layer.self_attn
    own = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    normed = layer.layer_norm1(hidden)
    query, key = (
        functional.linear(normed, projection.weight[own], projection.bias[own])
        for projection in (attention.q_proj, attention.k_proj)
    )
    return functional.scaled_dot_product_attention(query[:, None], key[:, None], values[:, None])[:, 0]


def gathering_flops(dim: int, gathered: int, head_dim: int, patches: int) -> float:
    """Arithmetic of gathering on a view of so many patches."""
    read = 2.0 * patches * 2 * dim * (dim + gathered)
    carried = 4.0 * patches * dim * head_dim + 2.0 * patches**2 * (head_dim + gathered)
    return read + len(GATHERED) * carried
