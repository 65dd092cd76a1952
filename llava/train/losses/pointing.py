"""Answers look at what they are read from: each character of an answer at the patch that shows it.

A patch shows several characters, so heads share them out: the first head of a layer looks for characters in the first
slot of their patch, and says them (``speaking``), the second head for those in the second. A head that has nothing to
say at a position looks at the beginning of the prompt, where nothing is.

Axis names: rows and positions (as in ``TwoCopies``), queries (asking positions of a row), heads.
"""

import math

import torch
from torch import Tensor

from llava.constants import IGNORE_INDEX
from llava.data.print_targets import SLOTS
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.pages import NONE
from llava.train.losses.looking import check_own_places, log_attention, query_places
from llava.train.losses.loss import AnswersLoss, AnswersSeen, LossSetup, Part
from shirg.transfer import to_device

_NOWHERE = 0
"""Position that heads without anything to say look at."""
_REST = 0.1
"""How much heads without anything to say count, against the one that has."""


class PointingLoss(AnswersLoss):
    """Asked of masked characters that stand on the page, among the tokens that were kept."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.layers = setup.options.pointing_layers

    def watched(self) -> tuple[int, ...]:
        return self.layers

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        check_own_places(lavida, "pointing")
        layers, heads = len(lavida.model.blocks), lavida.config.num_attention_heads
        if not all(0 <= layer < layers for layer in self.layers):
            raise ValueError(
                f"losses: pointing_layers must lie from 0 to {layers - 1} in this model, got {self.layers}"
            )
        if heads < SLOTS:
            raise ValueError(f"losses: pointing needs {SLOTS} heads in the language model, which has {heads}")

    def forward(self, seen: AnswersSeen) -> Part:
        """The sum over characters, and their number."""
        wanted, asking = pointer_targets(seen)
        count = asking.sum()
        if not bool(count):
            return seen.copies.embeds.new_zeros((), dtype=torch.float32), count
        places, real = query_places(asking)
        target = wanted.gather(1, places[..., None].expand(-1, -1, SLOTS))
        named = target >= 0
        total = torch.zeros((), device=asking.device)
        for layer in self.layers:
            looks = log_attention(seen.inputs[layer], places, SLOTS).transpose(1, 2)
            own = looks.gather(3, target.clamp(min=0)[..., None]).squeeze(3)
            found = own.masked_fill(~named, -math.inf).logsumexp(2)
            idle = (looks[..., _NOWHERE] * ~named).sum(2) / (~named).sum(2).clamp(min=1)
            total = total - (found + _REST * idle)[real].sum()
        return total / len(self.layers), count


def pointer_targets(seen: AnswersSeen) -> tuple[Tensor, Tensor]:
    """Where each head of each position looks, (rows, positions, heads) int64 or ``NONE``, and which positions ask.

    (rows, positions) is True where a masked character stands on the page and its patch was kept.
    """
    copies, at, batch = seen.copies, seen.places, seen.batch
    device = copies.labels.device
    lengths = [max(1, int((labels != IGNORE_INDEX).sum())) for labels in batch.labels]
    pointers = [torch.zeros(0, 4) if each is None else each for each in batch.pointers]
    most = max(1, *map(len, pointers))
    table = torch.full((len(pointers), most, 4), NONE)
    for sample, each in enumerate(pointers):
        table[sample, : len(each)] = each
    table = to_device(table, device)[copies.samples]
    labeled = copies.labels != IGNORE_INDEX
    # Both copies of an answer may stand in one row, one behind the other.
    rank = (labeled.cumsum(1) - 1) % to_device(torch.tensor(lengths), device)[copies.samples][:, None]
    known = labeled & (rank < most)
    rank = rank.clamp(0, most - 1)
    holder = torch.full((len(batch.ids), at.holder.shape[1]), NONE, device=device)
    for image, sample in reversed([*enumerate(batch.sample_index)]):
        held = at.holder[image]
        holder[sample] = torch.where(held >= 0, at.detail[image].gather(0, held.clamp(min=0)), NONE)
    holder = holder[copies.samples]
    targets = torch.full((*copies.labels.shape, SLOTS), NONE, device=device)
    for patch, slot in ((2, 3), (0, 1)):
        patches, slots = (table[..., part].gather(1, rank) for part in (patch, slot))
        place = torch.where(known & (patches >= 0), holder.gather(1, patches.clamp(min=0)), NONE)
        slots = slots.clamp(min=0)[..., None]
        # Where nothing is known, what stands there stays.
        place = torch.where(place >= 0, place, targets.gather(2, slots).squeeze(2))
        targets = targets.scatter(2, slots, place[..., None])
    return targets, copies.masked & (targets >= 0).any(2)
