"""What the patched model passes on between its stages: encoded pages, and finished visual prefixes.

Axis names as in ``shirg``: batch (pages), patches, cells, dim (vision width), width (language width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    budgets: tuple[int, ...]
    """Detail tokens to keep of each page."""
    projected: Tensor | None
    """(batch, patches, width) when the similarity compares projected patches with words."""

    def gather(self, index: Sequence[int], budget: int | Sequence[int] | None = None) -> EncodedPages:
        """The pages at ``index``, as often as they stand there: one row per question asked of them.

        Args:
            budget: detail tokens to keep of every row, or of each, instead of the pages' own numbers.
        """
        rows = to_device(torch.tensor(list(index), dtype=torch.long), self.dual.detail.device)
        dual = self.dual.take(index)
        if budget is None:
            budget = [self.budgets[place] for place in index]
        return EncodedPages(
            dual=dual,
            candidate_counts=tuple(self.candidate_counts[place] for place in index),
            budgets=(budget,) * len(index) if isinstance(budget, int) else tuple(budget),
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
