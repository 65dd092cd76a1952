"""The peer that asks what it would cost to carry the patches' content to the coarse view of the page."""

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from shirg.baselines.gathering import highest
from shirg.scaffold import pool_scaffold
from shirg.scoring import CENTER
from shirg.tokens import DualScaleTokens, TokenSet

FEATURE_WEIGHT, DISTANCE_WEIGHT, CENTER_WEIGHT = 0.7, 0.2, 0.1
SMOOTHING = 0.05
"""Weight of the plan's entropy, in units of the cost."""
ITERATIONS = 50


def topv(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """The ``keep`` patches whose share of a transport plan from patches to scaffold cells is the cheapest.

    After TopV (arXiv 2503.18278). Kept from the paper: no attention is read; source and target tokens are matched by
    optimal transport, solved by Sinkhorn's iterations; and the cost of a pair adds unlikeness of features, distance on
    the page, and distance from the page's center.

    Not the paper's: its targets are the outputs of a layer of the language model, which does not exist before the
    prefix does, so the scaffold stands in; the weights are those of SHIRG-X's score; a patch counts by what its mass
    costs, which is defined with both sides' masses fixed; and pruned tokens are not put back at regular places, because
    all peers keep the same number.
    """
    cost = _cost(dual)
    return highest(dual, -(_transport_plan(cost, *_masses(dual)) * cost).sum(dim=2), keep=keep)


def _cost(dual: DualScaleTokens) -> Float32[Tensor, "batch patches cells"]:
    shown = dual.own_detail, dual.scaffold.detach()[..., : dual.own_dim]
    patches, cells = (functional.normalize(each.float(), dim=2) for each in shown)
    places, targets = dual.boxes[..., :2], dual.scaffold_boxes[..., :2]
    distance = torch.cdist(places, targets, compute_mode="donot_use_mm_for_euclid_dist")
    center = (places - CENTER).norm(dim=2, keepdim=True)
    return (
        FEATURE_WEIGHT * (1.0 - patches @ cells.transpose(1, 2)) + DISTANCE_WEIGHT * distance + CENTER_WEIGHT * center
    )


def _masses(dual: DualScaleTokens) -> tuple[Float32[Tensor, "batch patches"], Float32[Tensor, "batch cells"]]:
    """Equal mass for every candidate, and for each cell as much as its candidates have."""
    present = dual.candidates.float()
    inside = pool_scaffold(present[..., None], grid=dual.grids[0], cells=dual.cells)[..., 0]
    return present / present.sum(dim=1, keepdim=True), inside / inside.sum(dim=1, keepdim=True)


def _transport_plan(
    cost: Float32[Tensor, "batch patches cells"],
    source: Float32[Tensor, "batch patches"],
    target: Float32[Tensor, "batch cells"],
) -> Float32[Tensor, "batch patches cells"]:
    """The cheapest plan between two masses, smoothed by entropy (Sinkhorn distances, arXiv 1306.0895).

    In logarithms, where small costs do not underflow; a mass of zero stays zero. The last step settles the sources.
    """
    kernel = -cost / SMOOTHING
    log_source, log_target = source.log(), target.log()
    right = torch.zeros_like(log_target)
    for _ in range(ITERATIONS):
        left = log_source - (kernel + right[:, None]).logsumexp(dim=2)
        right = log_target - (kernel + left[..., None]).logsumexp(dim=1)
    left = log_source - (kernel + right[:, None]).logsumexp(dim=2)
    return (kernel + left[..., None] + right[:, None]).exp()
