"""What the patched model passes on between its stages: encoded pages, and finished visual prefixes.

Axis names as in ``shirg``: batch (pages), patches, cells, dim (vision width), width (language width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from shirg.shirg_selector import Selection
from shirg.tokens import DualScaleTokens, TokenSet
from shirg.transfer import to_device


@dataclass(frozen=True, kw_only=True)
class EncodedPages:
    """What SHIRG-X sees of a batch of pages before any question; one encoding serves many questions."""

    dual: DualScaleTokens
    candidate_counts: tuple[int, ...]
    budgets: tuple[int, ...] | None
    """Detail tokens to keep of each page; None where the question decides, once it is known, which makes
    the host wait for the device once."""
    projected: Tensor | None
    """(batch, patches, width) when the similarity compares projected patches with words."""

    def gather(
        self, index: Sequence[int], budget: int | Sequence[int] | Literal["question"] | None = None
    ) -> EncodedPages:
        """The pages at ``index``, as often as they stand there: one row per question asked of them.

        Args:
            budget: detail tokens to keep of every row, or of each, or as many as its ``question`` needs, instead of the
                pages' own numbers.
        """
        rows = to_device(torch.tensor(list(index), dtype=torch.long), self.dual.detail.device)
        dual = self.dual.take(index)
        budgets: tuple[int, ...] | None = None
        if budget is None and self.budgets is not None:
            budgets = tuple(self.budgets[place] for place in index)
        elif isinstance(budget, int):
            budgets = (budget,) * len(index)
        elif budget is not None and not isinstance(budget, str):
            budgets = tuple(budget)
        return EncodedPages(
            dual=dual,
            candidate_counts=tuple(self.candidate_counts[place] for place in index),
            budgets=budgets,
            projected=None if self.projected is None else self.projected[rows, : dual.detail.shape[1]],
        )


@dataclass(frozen=True, kw_only=True)
class ShirgXPrefix:
    """The finished visual prefix of each page, and the decision behind it."""

    sequences: list[Tensor]
    """Per page (scaffold + K, width), projected."""
    boxes: list[Tensor]
    """Per page (scaffold + K, 4): (x, y, h, w) of every token."""
    tokens: TokenSet
    selection: Selection


def cut_rows(padded: Tensor, ends: Sequence[int]) -> list[Tensor]:
    """The rows of (rows, length, width) up to their ends; gradients of unpadded rows are stacked, not added up."""
    longest = max(ends, default=0)
    rows = padded[:, :longest].unbind(0)
    return [row if end == longest else row[:end] for row, end in zip(rows, ends, strict=True)]
