"""What a peer is: a method, what it reads, and whether the scaffold goes with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from shirg.tokens import DualScaleTokens, TokenSet

Need = Literal["pixels", "attention", "similarity", "generator"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One way to spend a number of tokens. ``dataclasses.replace`` makes variants, such as one with a scaffold."""

    method: Callable[..., TokenSet]
    """Detail tokens from ``(dual, keep=...)`` and what it needs by name; without ``keep`` unless ``budgeted``."""
    needs: frozenset[Need] = frozenset()
    """What it reads beyond features and places: the view's pixels, the vision tower's attention, each patch's
    similarity to the question, a generator of random numbers."""
    scaffold: bool = False
    """The scaffold goes in front of the detail tokens, and its tokens count."""
    budgeted: bool = True
    """False for the two reference rows, whose number of tokens is their own whatever the total."""

    def __call__(
        self,
        dual: DualScaleTokens,
        *,
        total: int,
        pixels: Float[Tensor, "batch 3 height width"] | None = None,
        similarity: Float[Tensor, "batch patches"] | None = None,
        generator: torch.Generator | None = None,
        candidate_counts: Sequence[int] | None = None,
    ) -> TokenSet:
        """The detail tokens of each image, at most ``total`` with the scaffold; only a pooled grid may give fewer.

        Decisions pass no gradient, features do. What the method does not need may be given and is not read. Padded
        patches are never chosen; ``candidate_counts``, how many others each image has, saves one wait for the device.

        Raises:
            ValueError: if something it needs is missing, the scaffold leaves nothing of the total, or an image has
                fewer candidates than tokens to keep.
        """
        given = {"pixels": pixels, "similarity": similarity, "generator": generator}
        for need in sorted(self.needs):
            if (dual.attention_received if need == "attention" else given[need]) is None:
                where = "encode the views with an attention_layer" if need == "attention" else f"pass {need}="
                raise ValueError(f"this baseline reads {need}, which is missing; {where}")
        arguments = {need: given[need] for need in self.needs if need != "attention"}
        # Training runs under bf16 autocast, whose 8 bits of mantissa would tie patches that differ.
        with torch.autocast(dual.detail.device.type, enabled=False):
            if self.budgeted:
                return self.method(dual, keep=self._num_detail(dual, total, candidate_counts), **arguments)
            return self.method(dual, **arguments)

    def _num_detail(self, dual: DualScaleTokens, total: int, candidate_counts: Sequence[int] | None) -> int:
        cells = dual.scaffold.shape[1] if self.scaffold else 0
        if total <= cells:
            raise ValueError(f"a total of {total} leaves no detail tokens beside {cells} scaffold tokens; raise it")
        keep = total - cells
        counts = dual.candidates.sum(dim=1).tolist() if candidate_counts is None else candidate_counts
        for image, count in enumerate(counts):
            if count < keep:
                raise ValueError(f"image {image} has {count} candidate patches, fewer than the {keep} to keep")
        return keep
