"""Reading whole pages: what every patch shows, named from the tower's features by linear heads.

A small tower that only learns from answers stays at chance for long; asked what is under every patch, it reads. The
heads are thrown away after training. Beside the characters of a patch's slots, they tell which of its word's characters
each one is, which word of its run the patch begins with, and what is drawn there: what a language model needs to put an
answer together.

Axis names: pages, patches (raster order), slots, classes, dim (vision width).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.data.page_truth import LONGEST, ROLES
from llava.data.print_targets import SLOTS
from llava.pages import NONE
from llava.train.losses.loss import LossSetup, PagesLoss, PagesSeen, Part
from llava.train.reading.reader import SlotHead, line_loss


class ReadingLoss(PagesLoss):
    """Per page, the mean of three: lines of characters, order within words, order of words."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.slots = SlotHead(setup.vision_dim)
        self.norm = nn.LayerNorm(setup.vision_dim)
        self.order = nn.Linear(setup.vision_dim, SLOTS * (LONGEST + 1))
        self.turn = nn.Linear(setup.vision_dim, 2 * (LONGEST + 1))

    def forward(self, seen: PagesSeen) -> Part:
        """The sum over pages, and their number."""
        detail, truth = seen.pages.dual.detail, seen.truth
        lines = line_loss(self.slots(detail), truth.classes, truth.places, truth.asked)
        normed = self.norm(detail)
        order = _named(self.order(normed).unflatten(-1, (SLOTS, -1)), truth.order)
        turn = _named(self.turn(normed).unflatten(-1, (2, -1)), truth.turn)
        count = torch.tensor(len(detail), device=detail.device)
        return (lines + 0.3 * order + 0.3 * turn) * count, count


def _named(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean cross-entropy where there is something to name; logits (..., classes), classes (...)."""
    known = classes != NONE
    if not bool(known.any()):
        return logits.sum() * 0
    return F.cross_entropy(logits[known].float(), classes[known])


def share_named(projected: Tensor, names: Tensor, embeddings: Tensor) -> dict[str, float]:
    """Per role, the share of the patches that show something whose nearest token is one for it; NaN where none does.

    Args:
        projected: (patches, width).
        names: (roles, patches, most), as ``PageTruth.names``.
        embeddings: (vocab, width).
    """
    from llava.train.losses.alignment import role_cosines

    shares = {}
    for role, tokens in zip(ROLES, names, strict=True):
        shown = tokens[:, 0] != NONE
        nearest = role_cosines(projected[shown], embeddings, role).argmax(-1)
        right = (tokens[shown] == nearest[:, None]).any(-1)
        shares[role] = float(right.float().mean())
    return shares
