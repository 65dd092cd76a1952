"""The peer that merges: nothing is dropped, and what is alike becomes one token."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor
from torch.nn import functional

from shirg.baselines.gathering import candidates_first
from shirg.tokens import DualScaleTokens, TokenSet

ROUNDS = 24
"""As many as a large vision transformer has layers, each of which merges once in the paper."""


@dataclass(frozen=True, kw_only=True)
class _Tokens:
    """Tokens between rounds, in raster order of the patch they grew from; those that are no more are at the end."""

    sums: Float32[Tensor, "batch tokens dim"]
    center_sums: Float32[Tensor, "batch tokens 2"]
    low: Float32[Tensor, "batch tokens 2"]
    high: Float32[Tensor, "batch tokens 2"]
    areas: Float32[Tensor, "batch tokens"]
    own_dim: int | None
    """Channels of ``sums``, from the first, by which tokens are alike."""


def tome(dual: DualScaleTokens, *, keep: int, rounds: int = ROUNDS) -> TokenSet:
    """``keep`` tokens per image, merged from all its patches.

    Bipartite soft matching (ToMe, arXiv 2210.09461): of the tokens in raster order, every other one is a source; each
    looks for its most similar target, and the most similar pairs merge into means weighted by how many patches a token
    stands for. Every round merges the same number, the paper's constant schedule, or half of the tokens if that is
    less; if ``rounds`` do not suffice, there are more. A merged token keeps its target's place in the order; its box
    has the centroid of its patches and the extent of their union, its area counts them.

    Faithful in matching, weighting and schedule. Merging happens after the encoder and by its features, not between its
    layers by their attention keys, so that all peers see the same features; and tokens go back to raster order after
    each round, where the paper puts targets last.

    Raises:
        ValueError: if there is not at least one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    tokens = _start(dual)
    while (count := tokens.areas.shape[1]) > keep:
        alive = (tokens.areas > 0).sum(dim=1)
        merges = torch.minimum(-((keep - alive) // rounds), alive // 2)
        # Padded images have fewer tokens than the others and never more after a round, so this is what all fit into.
        remaining = count - min(-((keep - count) // rounds), count // 2)
        tokens = _merge_once(tokens, merges, remaining)
        rounds = max(1, rounds - 1)
    areas = tokens.areas[..., None]
    return TokenSet(
        features=(tokens.sums / areas).to(dual.detail.dtype),
        boxes=torch.cat((tokens.center_sums / areas, (tokens.high - tokens.low).flip(-1)), dim=-1),
        areas=tokens.areas,
        lengths=(keep,) * areas.shape[0],
    )


def _start(dual: DualScaleTokens) -> _Tokens:
    order = candidates_first(dual.candidates)[..., None]
    areas = dual.candidates.gather(1, order[..., 0]).float()
    boxes = dual.boxes.gather(1, order.expand(-1, -1, 4))
    centers, half = boxes[..., :2], boxes[..., 2:].flip(-1) / 2
    features = dual.detail.float().gather(1, order.expand(-1, -1, dual.detail.shape[2]))
    return _Tokens(
        sums=features, center_sums=centers, low=centers - half, high=centers + half, areas=areas, own_dim=dual.own_dim
    )


def _merge_once(tokens: _Tokens, merges: Int[Tensor, "batch"], remaining: int) -> _Tokens:
    """The tokens after the ``merges`` most similar pairs became one, cut to ``remaining``."""
    alive = tokens.areas > 0
    target_of, joins = _match(tokens.sums.detach()[..., : tokens.own_dim], alive, merges)
    targets = tokens.areas[:, 1::2].shape[1]
    # A product with a matrix of ones and zeros: scattered sums would depend on timing on a GPU.
    route = (functional.one_hot(target_of, targets) * joins[..., None]).to(tokens.sums.dtype).transpose(1, 2)

    def collect(values: Tensor) -> Tensor:
        own = values.clone()
        own[:, 1::2] = own[:, 1::2] + route @ values[:, 0::2]
        return own

    def widen(corners: Float32[Tensor, "batch tokens 2"], *, outward: str) -> Float32[Tensor, "batch tokens 2"]:
        own = corners.clone()
        index = target_of[..., None].expand(-1, -1, 2)
        neutral = math.inf if outward == "amin" else -math.inf
        source = corners[:, 0::2].masked_fill(~joins[..., None], neutral)
        own[:, 1::2] = own[:, 1::2].scatter_reduce(1, index, source, reduce=outward)
        return own

    left = alive.clone()
    left[:, 0::2] &= ~joins
    order = candidates_first(left)[:, :remaining, None]
    areas = collect(tokens.areas[..., None]) * left[..., None]

    def arrange(values: Tensor) -> Tensor:
        return values.gather(1, order.expand(-1, -1, values.shape[2]))

    return _Tokens(
        sums=arrange(collect(tokens.sums)),
        center_sums=arrange(collect(tokens.center_sums)),
        low=arrange(widen(tokens.low, outward="amin")),
        high=arrange(widen(tokens.high, outward="amax")),
        areas=arrange(areas)[..., 0],
        own_dim=tokens.own_dim,
    )


def _match(
    features: Float32[Tensor, "batch tokens dim"], alive: Bool[Tensor, "batch tokens"], merges: Int[Tensor, "batch"]
) -> tuple[Int[Tensor, "batch sources"], Bool[Tensor, "batch sources"]]:
    """The target of each source, and whether the source joins it; ties to the earlier target and source."""
    # A sum points where the mean does, so cosines need no division by the area.
    units = functional.normalize(features, dim=2)
    cosines = units[:, 0::2] @ units[:, 1::2].transpose(1, 2)
    both = alive[:, 0::2, None] & alive[:, None, 1::2]
    best, target = cosines.masked_fill(~both, -math.inf).max(dim=2)
    order = best.argsort(dim=1, descending=True, stable=True)
    slots = torch.arange(order.shape[1], device=order.device)
    rank = torch.empty_like(order).scatter_(1, order, slots.expand_as(order))
    return target, rank < merges[:, None]
