"""What a loss is: something that looks at one moment of a training step and says how wrong it is, as a sum and a count.

Sums and counts are added up over processes before they are divided. Axis names as in ``PageTruth`` and ``TwoCopies``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from lavida_shirg_integration import EncodedPages, ShirgXPrefix
from llava.data.batch import Batch, detail_starts
from llava.data.page_truth import PageTruth
from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.train.losses.looking import BlockInput
from llava.train.losses.objective import TwoCopies
from llava.train.losses.options import LossOptions
from shirg.tiling import Grid
from shirg.transfer import to_device

Part = tuple[Tensor, Tensor]
"""A sum, float32 scalar, and the whole number of things it sums over."""
Moment = Literal["pages", "answers"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PagesSeen:
    """A step once its pages are encoded, before any question."""

    batch: Batch
    pages: EncodedPages
    lavida: LavidaForMaskedDiffusion
    layer_inputs: tuple[Tensor, ...] = ()
    """(views, patches of a view, dim) each: what the last two layers of the tower that run were given, in their order;
    none for stored pages, which ran none."""

    @property
    def view(self) -> Grid:
        """Rows and columns of patches of a view."""
        side = math.isqrt(self.layer_inputs[-1].shape[1])
        return side, side

    def rows(self, budget: int | None) -> EncodedPages:
        """One row for each image of every sample; where padding leaves fewer patches than the budget, it keeps all.

        A narrow image among thousands must not end a run, as it does where a user asks for a budget it cannot fill.
        """
        pages, index = self.pages, self.batch.image_index
        counts = [pages.candidate_counts[place] for place in index]
        return pages.gather(index, None if budget is None else [min(budget, count) for count in counts])

    @cached_property
    def truth(self) -> PageTruth:
        """What the pages know about themselves.

        Raises:
            ValueError: if one is no drawn page, so that nobody knows what its patches show, or if their grids differ.
        """
        truths = [truth for truth in self.batch.truths if truth is not None]
        if len(truths) != len(self.batch.truths):
            raise ValueError("losses on what patches show need drawn pages; set their weights to 0 for others")
        if len(set(self.pages.dual.grids)) > 1:
            raise ValueError("losses on what patches show need pages of one tiling; set tiles to rows x columns")
        return PageTruth.stack(truths, self.pages.dual.detail.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnswersSeen:
    """A step once the language model has run over the noisy answers."""

    pages: PagesSeen
    prefix: ShirgXPrefix
    copies: TwoCopies
    inputs: Mapping[int, BlockInput]
    """What the watched layers were given."""

    @property
    def batch(self) -> Batch:
        return self.pages.batch

    @cached_property
    def places(self) -> "Places":
        """Where the images' tokens stand."""
        return Places.of(self.batch, self.prefix, self.copies.labels)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the detail tokens of all images stand in the prompts. All on the device."""

    samples: Tensor
    """(images,) int64: whose prompt."""
    images: Tensor
    """(images,) int64: which view of the batch is shown."""
    detail: Tensor
    """(images, tokens) int64 positions; ``width`` for padding."""
    kept: Tensor
    """(images, tokens) int64: the patches they are; 0 for padding."""
    holder: Tensor
    """(images, patches) int64: which token holds a patch, itself or what it was folded into; -1 for none."""
    ends: Tensor
    """(images,) int64: the first position behind each image."""
    real: tuple[Tensor, Tensor]
    """(all tokens,) int64 each: image and number of every token that is no padding."""
    width: int
    """Positions of a row."""

    @classmethod
    def of(cls, batch: Batch, prefix: ShirgXPrefix, labels: Tensor) -> "Places":
        """In rows of as many positions as ``labels`` (rows, positions)."""
        lengths, width = prefix.tokens.lengths, labels.shape[1]
        starts = detail_starts(batch, [len(row) for row in prefix.sequences], lengths)
        numbers = to_device(
            torch.tensor([batch.sample_index, batch.image_index, starts, lengths], dtype=torch.int64), labels.device
        )
        samples, images, first, count = numbers
        most = prefix.tokens.boxes.shape[1]
        padding = torch.arange(most) >= torch.tensor(lengths)[:, None]
        real = to_device((~padding).nonzero().T, labels.device)
        tokens = torch.arange(most, device=labels.device)
        selection = prefix.selection
        kept = selection.kept.clamp(min=0)
        # One more patch takes what padding would write.
        number = selection.assignment.new_full((len(kept), selection.assignment.shape[1] + 1), -1)
        number.scatter_(1, torch.where(selection.kept < 0, number.shape[1] - 1, kept), tokens.expand_as(kept))
        return cls(
            samples=samples,
            images=images,
            detail=torch.where(tokens < count[:, None], first[:, None] + tokens, width),
            kept=kept,
            holder=number[:, :-1].gather(1, selection.assignment),
            ends=first + count,
            real=(real[0], real[1]),
            width=width,
        )


@dataclass(frozen=True, kw_only=True)
class LossSetup:
    """What losses are made from."""

    options: LossOptions
    vision_dim: int
    width: int
    """Of the language model."""


class Loss(nn.Module):
    """A loss of one moment; its parameters, if it has any, are thrown away after training."""

    def check(self, lavida: LavidaForMaskedDiffusion) -> None:
        """Refuse a model that the loss cannot teach.

        Raises:
            ValueError: naming what it lacks.
        """


class PagesLoss(Loss):
    """A loss on encoded pages."""

    def forward(self, seen: PagesSeen) -> Part:
        raise NotImplementedError


class AnswersLoss(Loss):
    """A loss on the language model's pass."""

    def watched(self) -> tuple[int, ...]:
        """Layers of the language model whose inputs it reads."""
        return ()

    def forward(self, seen: AnswersSeen) -> Part:
        raise NotImplementedError

    def idle(self, tokens: Tensor, boxes: Tensor) -> Tensor | None:
        """A number that depends on its parameters, for steps in which it is not asked; None where it has none."""
        return None
