"""Peers that choose one patch after the other, each in view of those chosen before.

Sequential by definition: ``keep`` steps, each over all patches of all images at once, and nothing comes back to the
host before the end.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn import functional

from shirg.baselines.gathering import gather_patches
from shirg.scoring import normalize_similarity
from shirg.tokens import DualScaleTokens, TokenSet


def divprune(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """``keep`` patches as unlike each other as can be: each next one is the farthest from its nearest chosen one.

    DivPrune (arXiv 2503.02175): the greedy solution of max-min diversity under cosine distance, starting from the patch
    that is farthest from its nearest other. Faithful, but on the vision tower's features; the paper prunes after the
    projector.
    """
    distances = 1.0 - _cosines(dual)
    pairs = dual.candidates[:, None] & ~torch.eye(dual.detail.shape[1], dtype=torch.bool, device=distances.device)
    first = distances.masked_fill(~pairs, math.inf).amin(dim=2)
    nearest = torch.full_like(first, math.inf)

    def score(latest: Int[Tensor, "batch 1"] | None) -> Float32[Tensor, "batch patches"]:
        if latest is None:
            return first
        return torch.minimum(nearest, _row(distances, latest), out=nearest)

    return gather_patches(dual, _choose(score, dual.candidates, keep=keep))


def scope(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """``keep`` patches that are salient and leave no patch unlike all of them.

    SCOPE (arXiv 2510.24214). A patch is covered by its highest cosine to a chosen one, at least 0; each next patch is
    the one with the highest product of its saliency and what it would add to the coverage of all patches. Faithful in
    the rule, with saliency to the power 1. SigLIP has no class token, whose attention is the paper's saliency; the
    attention a patch receives from all others stands in, of the layer whose output the projector gets.
    """
    assert dual.attention_received is not None
    saliency = dual.attention_received.float()
    cosines = _cosines(dual)
    # Padding needs no coverage: a cosine below every covered value adds none.
    gains_from = cosines.masked_fill(~dual.candidates[:, None], -1.0)
    covered = torch.zeros_like(saliency)
    # One table for all steps: a fresh one each time would cost more than filling it.
    gains = torch.empty_like(gains_from)

    def score(latest: Int[Tensor, "batch 1"] | None) -> Float32[Tensor, "batch patches"]:
        if latest is not None:
            torch.maximum(covered, _row(cosines, latest), out=covered)
        torch.sub(gains_from, covered[:, None], out=gains)
        return saliency * gains.relu_().sum(dim=2)

    return gather_patches(dual, _choose(score, dual.candidates, keep=keep))


def mmr(
    dual: DualScaleTokens, *, keep: int, similarity: Float[Tensor, "batch patches"], relevance_weight: float = 0.5
) -> TokenSet:
    """``keep`` patches relevant to the question, none of them like one that was chosen before.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): each next patch has the highest weighted relevance
    less the weighted cosine to the most similar chosen one; the first is the most relevant. The question's similarity
    is scaled to [0, 1] per image, as in SHIRG-X's score, since its sources have scales of their own.

    Raises:
        ValueError: if the weight does not lie in [0, 1].
    """
    if not 0.0 <= relevance_weight <= 1.0:
        raise ValueError(f"relevance_weight must be from 0 to 1, got {relevance_weight}")
    relevance = normalize_similarity(similarity.detach(), dual.candidates)
    cosines = _cosines(dual)
    redundancy = torch.full_like(relevance, -math.inf)

    def score(latest: Int[Tensor, "batch 1"] | None) -> Float32[Tensor, "batch patches"]:
        if latest is None:
            return relevance
        torch.maximum(redundancy, _row(cosines, latest), out=redundancy)
        return relevance_weight * relevance - (1.0 - relevance_weight) * redundancy

    return gather_patches(dual, _choose(score, dual.candidates, keep=keep))


def _choose(
    score: Callable[[Int[Tensor, "batch 1"] | None], Float32[Tensor, "batch patches"]],
    candidates: Bool[Tensor, "batch patches"],
    *,
    keep: int,
) -> Int[Tensor, "batch {keep}"]:
    """Patches in the order they are chosen. ``score`` judges all of them, told which was chosen last; ties go early."""
    open_patches = candidates.clone()
    latest, chosen = None, []
    for _ in range(keep):
        latest = score(latest).masked_fill(~open_patches, -math.inf).argmax(dim=1, keepdim=True)
        open_patches.scatter_(1, latest, False)
        chosen.append(latest)
    return torch.cat(chosen, dim=1)


def _cosines(dual: DualScaleTokens) -> Float32[Tensor, "batch patches patches"]:
    units = functional.normalize(dual.own_detail.float(), dim=2)
    return units @ units.transpose(1, 2)


def _row(
    matrix: Float32[Tensor, "batch patches patches"], index: Int[Tensor, "batch 1"]
) -> Float32[Tensor, "batch patches"]:
    return matrix.gather(1, index[..., None].expand(-1, -1, matrix.shape[2]))[:, 0]
