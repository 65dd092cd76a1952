"""Exactly K, the right ones, in raster order: for one image as for many, without waiting for the device."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes, padded_page_boxes
from shirg.profiling import StageTimer
from shirg.scaffold import pool_scaffold
from shirg.shirg_selector import select, select_top_tokens
from shirg.tokens import DualScaleTokens

GRID, FACTOR, DIM = 6, 2, 5
CONFIG = ShirgXConfig(grid=GRID, scaffold_factor=FACTOR, budgets=(7, 11, 18))


def top_by_loops(scores, candidates, keep, grid, cells, min_per_cell):
    """One image, by the definition."""
    (rows, columns), (down, across) = grid, cells
    best_first = sorted((patch for patch in range(rows * columns) if candidates[patch]), key=lambda p: (-scores[p], p))
    taken = []
    for cell in itertools.product(range(down), range(across)):
        members = [p for p in best_first if (p // columns * down // rows, p % columns * across // columns) == cell]
        taken += members[:min_per_cell]
    taken.sort(key=lambda p: (-scores[p], p))
    taken += [p for p in best_first if p not in taken]
    return sorted(taken[:keep])


def make_dual(batch, *, grid=GRID, candidates=None, boxes=None, dtype=torch.float32, smooth=False):
    detail = torch.randn(batch, grid**2, DIM)
    if smooth:
        detail = detail * 0.2 + torch.ones(DIM)
    detail = detail.to(dtype)
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(grid, grid), cells=(grid // FACTOR, grid // FACTOR)),
        boxes=grid_boxes((grid, grid)).expand(batch, -1, -1) if boxes is None else boxes,
        scaffold_boxes=grid_boxes((grid // FACTOR, grid // FACTOR)).expand(batch, -1, -1),
        candidates=torch.ones(batch, grid**2, dtype=torch.bool) if candidates is None else candidates,
        grids=((grid, grid),) * batch,
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([((1, 1), (1, 1)), ((4, 4), (2, 2)), ((6, 6), (2, 2)), ((6, 9), (3, 3)), ((10, 3), (5, 1))]),
    levels=st.sampled_from([1, 3, 10_000]),
    min_per_cell=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_top_tokens_follow_the_definition(shape, levels, min_per_cell, seed):
    grid, cells = shape
    patches = grid[0] * grid[1]
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-levels, levels, (3, patches), generator=generator) / levels
    candidates = torch.rand(3, patches, generator=generator) < 0.5
    candidates[:, 0] = True
    keep = [torch.randint(1, int(count) + 1, (), generator=generator).item() for count in candidates.sum(dim=1)]
    kept = select_top_tokens(
        scores,
        keep=torch.tensor(keep),
        candidates=candidates,
        largest_keep=max(keep),
        grid=grid,
        cells=cells,
        min_per_cell=min_per_cell,
    )
    for image in range(3):
        expected = top_by_loops(scores[image], candidates[image], keep[image], grid, cells, min_per_cell)
        assert kept[image].tolist() == expected + [-1] * (max(keep) - keep[image])


def test_every_cell_gets_its_share():
    scores = torch.linspace(1, 0, 36)[None]
    options = {"candidates": torch.ones(1, 36, dtype=torch.bool), "largest_keep": 18, "grid": (6, 6), "cells": (3, 3)}
    kept = select_top_tokens(scores, keep=torch.tensor([18]), min_per_cell=2, **options)
    cells = kept[0] // 6 // 2 * 3 + kept[0] % 6 // 2
    assert cells.bincount(minlength=9).tolist() == [2] * 9
    without = select_top_tokens(scores, keep=torch.tensor([18]), **options)
    assert without.tolist() == [list(range(18))]


def test_the_configured_share_reaches_every_cell():
    # All relevance lies in the first cell, which alone could fill the budget.
    similarity = torch.zeros(1, 36)
    similarity[0, [0, 1, 6, 7]] = 1.0
    config = CONFIG.replace(merge=False, min_per_cell=1, budgets=(9, 18))
    _, selection = select(make_dual(1), similarity, config, [9])
    cells = selection.kept[0] // GRID // FACTOR * 3 + selection.kept[0] % GRID // FACTOR
    assert sorted(cells.tolist()) == list(range(9))


def test_padding_does_not_stand_in_for_missing_candidates():
    candidates = torch.zeros(1, 36, dtype=torch.bool)
    candidates[0, [3, 20]] = True
    kept = select_top_tokens(
        torch.rand(1, 36), keep=torch.tensor([4]), candidates=candidates, largest_keep=5, grid=(6, 6), cells=(3, 3)
    )
    assert kept.tolist() == [[3, 20, -1, -1, -1]]


def test_keeping_more_than_there_is_is_refused():
    with pytest.raises(ValueError, match="cannot keep 37 of 36 patches"):
        select_top_tokens(
            torch.rand(1, 36),
            keep=torch.tensor([37]),
            candidates=torch.ones(1, 36, dtype=torch.bool),
            largest_keep=37,
            grid=(6, 6),
            cells=(3, 3),
        )


def test_planted_patches_survive_in_raster_order():
    dual = make_dual(1)
    planted = [33, 2, 14, 15, 8, 20, 29]
    similarity = 0.1 * torch.rand(1, 36)
    similarity[0, planted] = 5.0
    tokens, selection = select(dual, similarity, CONFIG.replace(merge=False), [7])
    assert selection.kept[0].tolist() == sorted(planted)
    assert torch.equal(tokens.features[0], dual.detail[0, sorted(planted)])
    assert torch.equal(tokens.boxes[0], dual.boxes[0, sorted(planted)])
    assert torch.equal(tokens.areas, torch.ones(1, 7))
    assert torch.equal(selection.assignment[0], torch.arange(36))


def test_images_may_keep_different_numbers():
    tokens, selection = select(make_dual(3), torch.rand(3, 36), CONFIG, [11, 7, 18])
    assert tokens.features.shape == (3, 18, DIM)
    assert tokens.lengths == selection.lengths == (11, 7, 18)
    for image, length in enumerate((11, 7, 18)):
        kept = selection.kept[image]
        assert (kept[:length].diff() > 0).all()
        assert kept[0] >= 0
        assert torch.equal(kept[length:], torch.full((18 - length,), -1))
        for padded in (tokens.features, tokens.boxes, tokens.areas):
            assert padded[image, length:].abs().sum() == 0
        assert tokens.areas[image, :length].min() >= 1
    assert [len(row) for row in tokens.unpad()] == [11, 7, 18]


def test_merged_tokens_carry_their_patches():
    dual = make_dual(2, smooth=True)
    config = CONFIG.replace(merge_epsilon=10.0, merge_cosine=0.5)
    tokens, selection = select(dual, torch.rand(2, 36), config, [18, 11])
    assert tokens.areas.max() > 1
    for image, length in enumerate((18, 11)):
        for slot, white in enumerate(selection.kept[image, :length].tolist()):
            members = selection.assignment[image] == white
            assert tokens.areas[image, slot] == members.sum()
            torch.testing.assert_close(tokens.features[image, slot], dual.detail[image, members].mean(dim=0))
            torch.testing.assert_close(tokens.boxes[image, slot, :2], dual.boxes[image, members, :2].mean(dim=0))


def test_merging_never_undercuts_a_budget():
    # Everything may merge: 36 patches would shrink to 18, but 30 are asked for.
    dual = make_dual(1, smooth=True)
    config = CONFIG.replace(merge_epsilon=10.0, merge_cosine=-1.0, budgets=(30,))
    tokens, selection = select(dual, torch.rand(1, 36), config, [30])
    assert tokens.areas.sum() == 36
    assert (selection.assignment[0] != torch.arange(36)).sum() == 6


def test_selection_goes_by_merged_scores():
    # A weak patch folded into the strongest averages it out; alone that one would have survived.
    similarity = torch.zeros(1, 36)
    similarity[0, [0, 35]] = torch.tensor([1.0, 0.8])
    dual = make_dual(1)
    dual.detail[0, 1] = dual.detail[0, 0]
    plain = CONFIG.replace(neighbor_weight=0.0, center_weight=0.0, budgets=(1, 35))
    config = plain.replace(merge_epsilon=10.0, merge_cosine=0.9999)
    assert select(dual, similarity, plain.replace(merge=False), [1])[1].kept.tolist() == [[0]]
    assert select(dual, similarity, config, [1])[1].kept.tolist() == [[35]]


def test_a_batch_selects_like_its_images_alone():
    dual, similarity, budgets = make_dual(3, smooth=True), torch.rand(3, 36), [7, 18, 11]
    together, selection = select(dual, similarity, CONFIG, budgets)
    for image, budget in enumerate(budgets):
        one = slice(image, image + 1)
        alone = DualScaleTokens(
            detail=dual.detail[one],
            scaffold=dual.scaffold[one],
            boxes=dual.boxes[one],
            scaffold_boxes=dual.scaffold_boxes[one],
            candidates=dual.candidates[one],
            grids=dual.grids[one],
        )
        tokens, single = select(alone, similarity[one], CONFIG, [budget])
        assert torch.equal(selection.kept[one, :budget], single.kept)
        torch.testing.assert_close(together.features[one, :budget], tokens.features, rtol=0, atol=0)


def test_the_dtype_of_the_tower_is_kept():
    tokens, selection = select(make_dual(1, dtype=torch.bfloat16), torch.rand(1, 36), CONFIG, [7])
    assert tokens.features.dtype == torch.bfloat16
    assert selection.scores.total.dtype == torch.float32


class TestPadding:
    sizes = ((30, 10), (20, 30))
    """On a grid of 6, 2 rows and 4 columns show the image: 12 and 24 patches."""

    def dual(self):
        boxes, candidates = padded_page_boxes([(GRID, GRID)] * 2, self.sizes, shapes=[(1, 1)] * 2)
        assert candidates.sum(dim=1).tolist() == [12, 24]
        return make_dual(2, boxes=boxes, candidates=candidates)

    @pytest.mark.parametrize("counts", [None, (12, 24)])
    def test_padding_is_never_selected(self, counts):
        dual = self.dual()
        similarity = torch.where(dual.candidates, torch.rand(2, 36), 9.0)
        config = CONFIG.replace(resize="pad", merge_epsilon=10.0, merge_cosine=-1.0)
        tokens, selection = select(dual, similarity, config, [11, 18], candidate_counts=counts)
        for image in range(2):
            assert dual.candidates[image, selection.kept[image, : tokens.lengths[image]]].all()
        assert (tokens.boxes[0, :11, 2:] > 0).all()
        assert (tokens.areas.sum(dim=1) <= dual.candidates.sum(dim=1)).all()

    def test_too_few_candidates_is_an_error_with_both_numbers(self):
        with pytest.raises(ValueError, match=r"image 0 has 12 candidate patches.* got 13"):
            select(self.dual(), torch.rand(2, 36), CONFIG.replace(resize="pad"), [13, 18])


@pytest.mark.parametrize(
    ("changes", "budgets", "message"),
    [
        ({"grid": 8}, [7, 7], "on grids of .*, which views of 8 x 8 do not tile"),
        ({}, [7], "2 images need as many budgets, got 1"),
        ({}, [7, 0], "image 1 has 36 candidate patches, so its budget must be from 1 to 36, got 0"),
        ({}, [37, 7], "image 0 has 36 candidate patches"),
    ],
)
def test_bad_calls_are_refused(changes, budgets, message):
    with pytest.raises(ValueError, match=message):
        select(make_dual(2), torch.rand(2, 36), CONFIG.replace(**changes), budgets)


@pytest.mark.parametrize("changes", [{}, {"min_per_cell": 1, "budgets": (9, 18)}, {"neighbor": "mean", "merge": False}])
def test_nothing_waits_for_the_device(changes):
    # Meta tensors hold no values: whatever reads one on the host, or takes a shape from one, raises.
    dual = make_dual(2)
    meta = DualScaleTokens(
        **{name: getattr(dual, name).to("meta") for name in ("detail", "scaffold", "boxes", "scaffold_boxes")},
        candidates=dual.candidates.to("meta"),
        grids=dual.grids,
    )
    config = CONFIG.replace(resize="pad", **changes)
    tokens, _ = select(meta, torch.rand(2, 36, device="meta"), config, [9, 18], candidate_counts=[36, 36])
    assert tokens.features.shape == (2, 18, DIM)


def test_stages_are_timed_on_request():
    timer = StageTimer("cpu")
    select(make_dual(1), torch.rand(1, 36), CONFIG, [7], timer=timer)
    assert list(timer.report()) == ["score", "merge", "select"]


def test_the_full_size():
    detail = torch.randn(1, 2304, 3)
    dual = DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(48, 48), cells=(12, 12)),
        boxes=grid_boxes((48, 48))[None],
        scaffold_boxes=grid_boxes((12, 12))[None],
        candidates=torch.ones(1, 2304, dtype=torch.bool),
        grids=((48, 48),),
    )
    tokens, selection = select(dual, torch.rand(1, 2304), ShirgXConfig(), [1024])
    assert tokens.features.shape == (1, 1024, 3)
    assert selection.scores.anchors.sum() == 64


class Operators(TorchDispatchMode):
    """The operators that run within, without those that only look at memory in another way."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not function.is_view:
            self.names.append(function.__name__)
        return function(*args, **(kwargs or {}))


def test_the_number_of_operators_depends_on_neither_images_nor_patches_nor_budgets():
    runs = []
    for batch, grid, budget in ((1, 4, 3), (5, 4, 7), (2, 14, 53)):
        config = ShirgXConfig(grid=grid, scaffold_factor=FACTOR, budgets=(budget,))
        dual = make_dual(batch, grid=grid, smooth=True)
        similarity = torch.rand(batch, grid**2)
        with Operators() as operators:
            select(dual, similarity, config, [budget] * batch)
        runs.append(operators.names)
    assert runs[0] == runs[1] == runs[2]
