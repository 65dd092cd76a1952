"""Where the vision tower looks: from every patch to the labels that say what it belongs to, and how to teach it.

That a cell belongs to a row is told by one word at the far end of its line, which a small tower finds late by itself.
The generator of pages knows where the label stands, and asks the attention of the tower's last layer for it.

Axis names: batch (views), patches (raster order), kinds (of labels), dim (vision width).
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from llava.data.page_truth import KINDS
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.pages import NONE
from llava.train.losses.looking import query_places
from llava.train.losses.loss import PagesLoss, PagesSeen, Part
from shirg.joining import split_views


class LabelingLoss(PagesLoss):
    """Asked of the tower's last layer that runs."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        heads = lavida.get_vision_tower().config.num_attention_heads
        if heads < len(KINDS):
            raise ValueError(f"losses: labeling needs {len(KINDS)} heads in the vision tower, which has {heads}")

    def forward(self, seen: PagesSeen) -> Part:
        """The sum over views, and their number."""
        # A view sees no further than its own patches: labels printed on another tile ask nothing of it.
        by_patch = seen.truth.labels.flatten(1, 2).transpose(1, 2)
        by_view = split_views(by_patch, seen.pages.dual.grids, view=seen.view).transpose(1, 2)
        belongs, printed = by_view.unflatten(1, (2, -1)).permute(1, 2, 0, 3)
        layer = seen.lavida.get_vision_tower().selected_layer
        losses = labeling_loss(layer, seen.layer_inputs[-1], belongs, printed)
        return losses.sum(), torch.tensor(len(losses), device=losses.device)


def labeling_loss(layer: SiglipEncoderLayer, hidden: Tensor, belongs: Tensor, printed: Tensor) -> Tensor:
    """-log of the attention that falls on a patch's own label: (batch,) float32, each view's mean.

    The mean is over all patches whose label is printed somewhere, over kinds, and over the heads that look for each,
    which take turns: the first head for the first kind, the second for the second, and on. A patch of the label itself
    counts little: it has found the label where it stands, and one that is far off has not.

    Args:
        hidden: (batch, patches, dim), what the layer was given.
        belongs: (kinds, batch, patches) int64, the label each patch belongs to, and ``printed``, the one on it: numbers
            of one page only, ``NONE`` where there is none.
    """
    # Most of a page belongs to no label, and need not be asked.
    places, real = query_places((belongs != NONE).any(0))
    index = places.expand(len(belongs), -1, -1)
    asked = torch.where(real, belongs.gather(2, index), NONE)
    wanted = (asked[..., None] == printed[:, :, None]) & (asked != NONE)[..., None]
    own = (asked == printed.gather(2, index)) & (asked != NONE)
    asking, losses = wanted.any(-1) * torch.where(own, _OWN, 1.0), []
    for head, looks in enumerate(log_looks(layer, hidden, range(len(belongs) * _heads(layer)), places)):
        kind = head % len(belongs)
        found = looks.masked_fill(~wanted[kind], -math.inf).logsumexp(-1)
        weights = asking[kind]
        total = -(found.masked_fill(weights == 0, 0) * weights).sum(1)
        losses.append(total / weights.sum(1).clamp(min=_OWN))
    return torch.stack(losses).mean(0)


def log_looks(layer: SiglipEncoderLayer, hidden: Tensor, heads: Iterable[int], places: Tensor) -> Iterator[Tensor]:
    """The log of what some heads of a tower's layer look at, given ``hidden`` (batch, patches, dim), from ``places``
    (batch, asking), one head after the other: (batch, asking, patches) float32."""
    attention = layer.self_attn
    normed = layer.layer_norm1(hidden)
    queries, keys = (
        projection(given).unflatten(-1, (attention.num_heads, -1))
        for projection, given in (
            (attention.q_proj, normed.gather(1, places[..., None].expand(-1, -1, normed.shape[-1]))),
            (attention.k_proj, normed),
        )
    )
    for head in heads:
        # Autocast would round the scores to 8 bits of mantissa.
        with torch.autocast(hidden.device.type, enabled=False):
            scores = (
                queries[:, :, head].float() @ keys[:, :, head].float().transpose(1, 2) / math.sqrt(attention.head_dim)
            )
        yield scores.log_softmax(-1)


def _heads(layer: SiglipEncoderLayer) -> int:
    """As many heads look for each kind of label, since one passes on no more of it than its own few dimensions; others
    are left for what is no label."""
    return max(1, layer.self_attn.num_heads // (len(KINDS) + 1))


_OWN = 0.2
"""How much a patch of the label itself counts, against one that has to look for it."""
