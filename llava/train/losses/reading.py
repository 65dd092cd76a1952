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

from llava.data.page_truth import LONGEST
from llava.data.print_targets import SLOTS
from llava.pages import NONE
from llava.train.losses.loss import LossSetup, PagesLoss, PagesSeen, Part
from llava.train.reading.reader import SlotHead, line_loss


class ReadingLoss(PagesLoss):
    """Per page, the weighted sum of three: lines of characters, order within words, order of words."""

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
        lines = lines / (truth.classes != NONE).sum((1, 2)).clamp(min=1)
        normed = self.norm(detail)
        order = _named(self.order(normed).unflatten(-1, (SLOTS, -1)), truth.order)
        turn = _named(self.turn(normed).unflatten(-1, (2, -1)), truth.turn)
        total = (lines + _ORDER_WEIGHT * (order + turn)).sum()
        return total, torch.tensor(len(detail), device=detail.device)


def _named(logits: Tensor, classes: Tensor) -> Tensor:
    """(pages,) float32: the mean cross-entropy where there is something to name.

    Args:
        logits: (pages, ..., classes).
        classes: (pages, ...) int64 or ``NONE``.
    """
    errors = F.cross_entropy(logits.float().flatten(0, -2), classes.flatten(), ignore_index=NONE, reduction="none")
    return errors.view(len(classes), -1).sum(1) / (classes != NONE).flatten(1).sum(1).clamp(min=1)


_ORDER_WEIGHT = 0.3
"""Of each order against the characters."""
