"""Which tokens survive: score, merge, and keep exactly as many as the budget says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from shirg.config import ShirgXConfig
from shirg.joining import together
from shirg.merging import MergedTokens, match_checkerboard, merge_tokens
from shirg.profiling import StageTimer
from shirg.scoring import Scores, score_tokens
from shirg.tiling import Grid
from shirg.tokens import DualScaleTokens, TokenSet
from shirg.transfer import to_device


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The decision behind a ``TokenSet``, for drawing, for training and for tests.

    Patches count from 0 in raster order of their own page; what stands behind a page's last is padding.
    """

    scores: Scores
    """Of every patch, before merging."""
    assignment: Int[Tensor, "batch patches"]
    """The patch each patch was folded into; itself if it stayed."""
    kept: Int[Tensor, "batch tokens"]
    """The patch at whose place each surviving token lies, in raster order, then -1."""
    lengths: tuple[int, ...]
    """Surviving tokens of each image."""
    grids: tuple[Grid, ...]
    """Rows and columns of patches of each image."""


def select(
    dual: DualScaleTokens,
    similarity: Float[Tensor, "batch patches"],
    config: ShirgXConfig,
    budgets: Sequence[int],
    *,
    candidate_counts: Sequence[int] | None = None,
    timer: StageTimer | None = None,
) -> tuple[TokenSet, Selection]:
    """The ``budgets[i]`` best detail tokens of each image, and how they were chosen.

    With ``ink_first``, and where the tokens say which patches are inked, blank ones are chosen only once all others
    are.

    The host must know how many candidates an image has. Stretched images have all their patches; for padded ones the
    counts are an argument, and leaving them out costs the one wait for the device in here. Images of different grids
    are chosen from apart, so that none depends on the others.

    Raises:
        ValueError: if views of the configured grid do not tile the tokens' grids, there is not one budget per image, or
            an image has fewer candidates than its budget. Filling up here would put made-up tokens into the cached
            prefix.
    """
    if any(side % config.grid for grid in dual.grids for side in grid):
        raise ValueError(
            f"the tokens lie on grids of {dual.grids}, which views of {config.grid} x {config.grid} do not tile"
        )
    batch = dual.detail.shape[0]
    if len(budgets) != batch:
        raise ValueError(f"{batch} images need as many budgets, got {len(budgets)}")
    if candidate_counts is None:
        padded = config.resize == "pad"
        candidate_counts = dual.candidates.sum(dim=1).tolist() if padded else dual.num_patches
    for image, (count, budget) in enumerate(zip(candidate_counts, budgets, strict=True)):
        if not 1 <= budget <= count:
            raise ValueError(
                f"image {image} has {count} candidate patches, so its budget must be from 1 to {count}, got {budget}"
            )

    timer = timer or StageTimer(dual.detail.device, enabled=False)
    places, chosen = [], []
    for index, part in dual.alike():
        # One grid is the usual case, in which nothing is moved.
        rows = similarity
        if part is not dual:
            rows = rows[to_device(torch.tensor(index), rows.device), : part.detail.shape[1]]
        own = [budgets[place] for place in index]
        keep = to_device(torch.tensor(own), rows.device)
        chosen.append(select_alike(part, rows, keep, config, own, timer))
        places.append(index)
    return chosen[0] if len(chosen) == 1 else _batch_together(chosen, places)


def select_alike(
    dual: DualScaleTokens,
    similarity: Float[Tensor, "batch patches"],
    keep: Int[Tensor, "batch"],
    config: ShirgXConfig,
    budgets: Sequence[int],
    timer: StageTimer,
) -> tuple[TokenSet, Selection]:
    """``select`` for images of one grid, whose budgets are on the device too, as ``keep``.

    One graph without breaks for ``torch.compile``, given a timer that is switched off.
    """
    grid, inked = dual.grids[0], dual.inked if config.ink_first else None
    with torch.no_grad(), timer.stage("score"):
        scores = score_tokens(similarity, dual.boxes, dual.candidates, config, inked, grid=grid)
    with timer.stage("merge"):
        merged, assignment = _merge(dual, scores.total, keep, config, inked)
    with timer.stage("select"):
        kept = select_top_tokens(
            merged.scores,
            keep=keep,
            candidates=dual.candidates & (merged.areas > 0),
            largest_keep=max(budgets),
            grid=grid,
            cells=config.cells,
            min_per_cell=config.min_per_cell,
            inked=inked,
        )
        tokens = _gather_tokens(merged, kept, tuple(budgets))
    selection = Selection(scores=scores, assignment=assignment, kept=kept, lengths=tuple(budgets), grids=dual.grids)
    return tokens, selection


def select_top_tokens(
    scores: Float32[Tensor, "batch patches"],
    *,
    keep: Int[Tensor, "batch"],
    candidates: Bool[Tensor, "batch patches"],
    largest_keep: int,
    grid: Grid,
    cells: Grid,
    min_per_cell: int = 0,
    inked: Bool[Tensor, "batch patches"] | None = None,
) -> Int[Tensor, "batch {largest_keep}"]:
    """Indices of the ``keep`` highest-scoring candidates of each image, in raster order, then -1.

    Raster order keeps the prefix a subsequence of the full one, in the order the language model was trained on. Equal
    scores go to the earlier patch, which makes the choice independent of device and batch. With ``min_per_cell``, the
    best so many of every scaffold cell, or all it has, come before any others. Where ``inked`` is given, every inked
    patch is better than every blank one, for a cell's share too, and the scores decide among either. An image with
    fewer candidates than ``keep`` gives all it has, since refusing it here would wait for the device; ``select``
    refuses it on the host.

    Raises:
        ValueError: if more tokens are asked for than there are patches.
    """
    patches = scores.shape[1]
    if largest_keep > patches:
        raise ValueError(f"cannot keep {largest_keep} of {patches} patches; lower the budget")
    order = rank_patches(scores, candidates, inked)
    if min_per_cell > 0:
        place = torch.arange(0, -patches, -1, device=scores.device, dtype=torch.float32).expand_as(scores)
        ranked = torch.empty_like(place).scatter_(1, order, place)
        guaranteed = _best_per_cell(ranked, grid=grid, cells=cells, count=min_per_cell) & candidates
        order = _bring_forward(order, guaranteed)
    top = order[:, :largest_keep]
    slot = torch.arange(largest_keep, device=scores.device)
    real = (slot < keep[:, None]) & candidates.gather(1, top)
    raster = top.masked_fill(~real, patches).sort(dim=1).values
    return raster.masked_fill(raster == patches, -1)


def rank_patches(
    scores: Float32[Tensor, "batch patches"],
    candidates: Bool[Tensor, "batch patches"],
    inked: Bool[Tensor, "batch patches"] | None = None,
) -> Int[Tensor, "batch patches"]:
    """All patches in the order in which they are chosen: by ink where it is given, then by score, then by place.

    What is no candidate comes last.
    """
    order = scores.masked_fill(~candidates, -math.inf).argsort(dim=1, descending=True, stable=True)
    # An order of two keys: a number added to the scores would round their differences away.
    return order if inked is None else _bring_forward(order, inked & candidates)


def _bring_forward(
    order: Int[Tensor, "batch patches"], chosen: Bool[Tensor, "batch patches"]
) -> Int[Tensor, "batch patches"]:
    """The same order of patches but for the chosen ones, which come before all others."""
    # Some devices do not sort booleans.
    first = chosen.gather(1, order).byte().argsort(dim=1, descending=True, stable=True)
    return order.gather(1, first)


def _merge(
    dual: DualScaleTokens,
    scores: Float32[Tensor, "batch patches"],
    keep: Int[Tensor, "batch"],
    config: ShirgXConfig,
    inked: Bool[Tensor, "batch patches"] | None,
) -> tuple[MergedTokens, Int[Tensor, "batch patches"]]:
    if not config.merge:
        index = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape).contiguous()
        return MergedTokens(features=dual.detail, boxes=dual.boxes, scores=scores, areas=torch.ones_like(scores)), index
    assignment = match_checkerboard(
        dual.own_detail,
        scores,
        dual.candidates,
        grid=dual.grids[0],
        epsilon=config.merge_epsilon,
        min_cosine=config.merge_cosine,
        max_merges=dual.candidates.sum(dim=1) - keep,
        inked=inked,
    )
    return merge_tokens(dual.detail, dual.boxes, scores, assignment, grid=dual.grids[0]), assignment


def _best_per_cell(
    scores: Float32[Tensor, "batch patches"], *, grid: Grid, cells: Grid, count: int
) -> Bool[Tensor, "batch patches"]:
    """The ``count`` highest-scoring patches of every scaffold cell; ties go to the earlier patch."""
    high, wide = grid[0] // cells[0], grid[1] // cells[1]
    # Raster order within a cell agrees with raster order on the page, so a stable sort settles ties alike.
    blocks = scores.view(-1, cells[0], high, cells[1], wide).transpose(2, 3).flatten(3)
    order = blocks.argsort(dim=3, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(3, order, torch.arange(high * wide, device=scores.device).expand_as(order))
    return (rank < count).unflatten(3, (high, wide)).transpose(2, 3).flatten(1)


def _gather_tokens(merged: MergedTokens, kept: Int[Tensor, "batch tokens"], lengths: tuple[int, ...]) -> TokenSet:
    real = kept >= 0
    index = kept.clamp(min=0)[..., None]
    features = merged.features.gather(1, index.expand(-1, -1, merged.features.shape[2]))
    boxes = merged.boxes.gather(1, index.expand(-1, -1, 4))
    return TokenSet(
        features=features.masked_fill(~real[..., None], 0.0),
        boxes=boxes.masked_fill(~real[..., None], 0.0),
        areas=merged.areas.gather(1, index[..., 0]).masked_fill(~real, 0.0),
        lengths=lengths,
    )


def _batch_together(
    chosen: Sequence[tuple[TokenSet, Selection]], places: Sequence[Sequence[int]]
) -> tuple[TokenSet, Selection]:
    """The choices from images of several grids as one batch, each image at its place."""
    sets, selections = zip(*chosen, strict=True)
    order = [place for group in places for place in group]

    def joined(parts: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
        values = dict(zip(order, (value for part in parts for value in part), strict=True))
        return tuple(values[place] for place in range(len(order)))

    lengths = joined([each.lengths for each in sets])
    tokens = TokenSet(
        features=together([each.features for each in sets], places),
        boxes=together([each.boxes for each in sets], places),
        areas=together([each.areas for each in sets], places),
        lengths=lengths,
    )
    scores = {
        field.name: together(
            [getattr(each.scores, field.name) for each in selections],
            places,
            fill=-1 if field.name == "anchor_index" else 0,
        )
        for field in fields(Scores)
    }
    assignment = together([each.assignment for each in selections], places, fill=-1)
    index = torch.arange(assignment.shape[1], device=assignment.device)
    selection = Selection(
        scores=Scores(**scores),
        assignment=torch.where(assignment < 0, index, assignment),
        kept=together([each.kept for each in selections], places, fill=-1),
        lengths=lengths,
        grids=joined([each.grids for each in selections]),
    )
    return tokens, selection
