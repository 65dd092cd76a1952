"""Where the vision tower gathers words: each patch of a word looks at all of its patches, alike.

A patch shows two or three characters, and what a question names are words: a patch can say which word it is part of
only once it has looked at the others. So attention is asked for the average over each word, in the layer before the
last, whose heads can then find whole labels.

Axis names: batch (views), patches (raster order), dim (vision width).
"""

import torch
from torch import Tensor
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.pages import NONE
from llava.train.losses.labeling import log_looks
from llava.train.losses.looking import query_places
from llava.train.losses.loss import PagesLoss, PagesSeen, Part
from shirg.joining import split_views


class WordsLoss(PagesLoss):
    """Asked of the tower's last layer but one that runs."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        if lavida.get_vision_tower().num_layers_run < 2:
            raise ValueError("losses: words needs a vision tower of two layers that run, this one has a single one")

    def forward(self, seen: PagesSeen) -> Part:
        """The sum over views, and their number."""
        # A view sees no further than its own patches: what of a word is on another tile asks nothing of it.
        words = split_views(seen.truth.words, seen.pages.dual.grids, view=seen.view)
        layer, _ = seen.lavida.get_vision_tower().last_layers
        losses = words_loss(layer, seen.layer_inputs[0], words)
        return losses.sum(), torch.tensor(len(losses), device=losses.device)


def words_loss(layer: SiglipEncoderLayer, hidden: Tensor, words: Tensor) -> Tensor:
    """How far attention is from even over a patch's own word: (batch,) float32, each view's mean over words' patches.

    The Kullback-Leibler divergence, so that 0 is reached; the mean over the first half of the heads.

    Args:
        hidden: (batch, patches, dim), what the layer was given.
        words: (batch, patches) int64, the word over each patch, or ``NONE``.
    """
    # Blank patches, most of a page, belong to no word and need not be asked.
    places, asking = query_places(words != NONE)
    wanted = (words.gather(1, places)[:, :, None] == words[:, None]) & asking[..., None]
    size = wanted.sum(-1).clamp(min=1)
    losses = []
    for looks in log_looks(layer, hidden, range(max(1, layer.self_attn.num_heads // 2)), places):
        divergence = -looks.masked_fill(~wanted, 0).sum(-1) / size - size.log()
        losses.append(divergence.masked_fill(~asking, 0).sum(1) / asking.sum(1).clamp(min=1))
    return torch.stack(losses).mean(0)
