"""What a peer makes of encoded pages when it has a number of tokens to spend."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shirg.baselines.baseline import Baseline
from shirg.tokens import DualScaleTokens, TokenSet


def spend(
    baseline: Baseline,
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
    All images have one grid: peers are asked about one page at a time.

    Raises:
        ValueError: if images have different grids, something it needs is missing, the scaffold leaves nothing of the
            total, or an image has fewer candidates than tokens to keep.
    """
    if len(set(dual.grids)) > 1:
        raise ValueError(f"a baseline takes pages of one grid at a time, got {dual.grids}; use dual.alike()")
    given = {"pixels": pixels, "similarity": similarity, "generator": generator}
    for need in sorted(baseline.needs):
        if (dual.attention_received if need == "attention" else given[need]) is None:
            where = "encode the views with an attention_layer" if need == "attention" else f"pass {need}="
            raise ValueError(f"this baseline reads {need}, which is missing; {where}")
    arguments = {need: given[need] for need in baseline.needs if need != "attention"}
    # Training runs under bf16 autocast, whose 8 bits of mantissa would tie patches that differ.
    with torch.autocast(dual.detail.device.type, enabled=False):
        if baseline.budgeted:
            return baseline.method(dual, keep=_num_detail(baseline, dual, total, candidate_counts), **arguments)
        return baseline.method(dual, **arguments)


def _num_detail(baseline: Baseline, dual: DualScaleTokens, total: int, candidate_counts: Sequence[int] | None) -> int:
    cells = dual.scaffold.shape[1] if baseline.scaffold else 0
    if total <= cells:
        raise ValueError(f"a total of {total} leaves no detail tokens beside {cells} scaffold tokens; raise it")
    keep = total - cells
    counts = dual.candidates.sum(dim=1).tolist() if candidate_counts is None else candidate_counts
    for image, count in enumerate(counts):
        if count < keep:
            raise ValueError(f"image {image} has {count} candidate patches, fewer than the {keep} to keep")
    return keep
