"""What the vision tower gathers for each patch, near the tokens that name it: its word, its row's label, its column's.

Axis names: pages, patches, roles, most (tokens that name one thing), width (language width).
"""

import torch
from torch import Tensor

from llava.data.page_truth import ROLES
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.pages import NONE
from llava.train.losses.alignment import naming_loss
from llava.train.losses.loss import PagesLoss, PagesSeen, Part
from shirg.tokens import GATHERED

_AS_IT_IS = ROLES[0]
"""The role in which a token's embedding is not turned: gathered words need none, each kind has channels of its own."""


class GatheringLoss(PagesLoss):
    """Asked of a tower that gathers words."""

    def __init__(self, _: object) -> None:
        super().__init__()

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        width = lavida.config.hidden_size
        if lavida.get_vision_tower().gathered != width:
            raise ValueError(f"losses: gathering needs a vision tower that gathers words (gathered_dim: {width})")

    def forward(self, seen: PagesSeen) -> Part:
        """The sum over pages, and their number."""
        detail = seen.pages.dual.detail
        gathered = detail[..., seen.lavida.get_vision_tower().own_size :].unflatten(-1, (len(GATHERED), -1))
        embeddings = seen.lavida.get_input_embeddings().get_parameter("weight")
        loss = gathering_loss(gathered, seen.truth.names, embeddings)
        count = torch.tensor(len(detail), device=detail.device)
        return loss * count, count


def gathering_loss(gathered: Tensor, names: Tensor, embeddings: Tensor) -> Tensor:
    """How far what is gathered is from the tokens that name it: scalar float32, the mean over kinds.

    Args:
        gathered: (pages, patches, kinds, width).
        names: (pages, roles, patches, most), as ``PageTruth.names``.
        embeddings: (vocab, width) the language model's own; they learn too.
    """
    losses = []
    for number, kind in enumerate(GATHERED):
        tokens = names[:, ROLES.index(kind)]
        shown = tokens[..., 0] != NONE
        if bool(shown.any()):
            losses.append(naming_loss(gathered[:, :, number][shown], tokens[shown], embeddings, _AS_IT_IS))
    return torch.stack(losses).mean() if losses else gathered.sum() * 0
