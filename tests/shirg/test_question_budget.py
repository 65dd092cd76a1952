"""Budgets by question: shares against a slow twin, and the smallest that reaches the mass."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes
from shirg.question_budget import kept_shares, question_shares, relevance_mass, smallest_budgets
from shirg.scaffold import dual_scale, pool_scaffold
from shirg.scoring import score_tokens
from shirg.sources import SOURCES
from shirg.tokens import DualScaleTokens

GRID = 12
OFFERED = (3, 7, 19, 53, 131, 200)
CONFIG = ShirgXConfig(grid=GRID, budgets=(20, 60, 100), question_budgets=OFFERED)


def page(candidates: torch.Tensor, inked: torch.Tensor | None = None) -> DualScaleTokens:
    detail = torch.randn(len(candidates), GRID**2, 5)
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(GRID, GRID), cells=(GRID // 4, GRID // 4)),
        boxes=grid_boxes((GRID, GRID)).expand(len(candidates), -1, -1),
        scaffold_boxes=grid_boxes((GRID // 4, GRID // 4)).expand(len(candidates), -1, -1),
        candidates=candidates,
        grids=((GRID, GRID),) * len(candidates),
        inked=inked,
    )


def shares_by_loops(dual: DualScaleTokens, similarity: torch.Tensor, image: int, config: ShirgXConfig) -> list[float]:
    inked = dual.inked if config.ink_first else None
    total = (
        score_tokens(similarity, dual.boxes, dual.candidates, config, inked, grid=(GRID, GRID)).total[image].tolist()
    )
    patches = [patch for patch in range(GRID**2) if dual.candidates[image, patch]]
    ink = [patch for patch in patches if inked is None or inked[image, patch]]
    heat = SOURCES[config.similarity].inverse_temperature
    values = similarity[image].tolist()
    weight = {patch: values[patch] if heat is None else math.exp(heat * values[patch]) for patch in ink or patches}
    order = sorted(patches, key=lambda p: (p not in ink, -total[p], p))
    return [sum(weight.get(p, 0.0) for p in order[:budget]) / sum(weight.values()) for budget in OFFERED]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    share=st.sampled_from([0.0, 0.2, 1.0, None]),
    padded=st.booleans(),
    source=st.sampled_from(["learned", "attention"]),
    ink_first=st.booleans(),
)
def test_shares_are_those_of_the_slow_definition_whatever_the_batch(seed, share, padded, source, ink_first):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(3, GRID**2, generator=generator)
    candidates = torch.ones(3, GRID**2, dtype=torch.bool)
    if padded:
        candidates = torch.arange(GRID**2).expand(3, -1) < 110
    inked = None if share is None else torch.rand(3, GRID**2, generator=generator) < share
    dual, config = page(candidates, inked), CONFIG.replace(similarity=source, ink_first=ink_first)
    shares = question_shares(dual, similarity, config)
    assert bool((shares.diff(dim=1) >= -1e-6).all()), "more tokens keep more"
    for image in range(3):
        expected = torch.tensor(shares_by_loops(dual, similarity, image, config))
        torch.testing.assert_close(shares[image], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("heat", [None, 12.0])
def test_relevance_adds_up_and_none_lies_on_what_is_not_judged(heat):
    judged = torch.rand(2, 144) < 0.5
    mass = relevance_mass(0.01 + torch.rand(2, 144), judged, heat)
    torch.testing.assert_close(mass.sum(1), torch.ones(2))
    assert not mass[~judged].any()
    assert bool((mass[judged] > 0).all())


def test_what_is_spread_wide_needs_more():
    """A planted field, a planted row, and a question about the whole page."""
    similarity = torch.full((3, 144), 0.1)
    similarity[0, 40:43] = 1.0
    similarity[1, 36:48] = 1.0
    similarity[2] = torch.linspace(0.99, 1.0, 144)
    shares = question_shares(page(torch.ones(3, 144, dtype=torch.bool)), similarity, CONFIG)
    assert smallest_budgets(shares, OFFERED, (144,) * 3, mass=0.9) == (3, 19, 131)
    # A relevance that knows nothing better is not taken for one that does, as scaling it to [0, 1] would.
    flat = question_shares(page(torch.ones(1, 144, dtype=torch.bool)), 0.1 + 0.001 * similarity[:1], CONFIG)
    assert smallest_budgets(flat, OFFERED, (144,), mass=0.9) == (131,)


def test_beyond_the_last_patch_all_is_kept():
    mass = torch.full((1, 4), 0.25)
    shares = kept_shares(mass, torch.tensor([[3, 1, 0, 2]]), (1, 3, 9))
    assert shares.tolist() == [[0.25, 0.75, 1.0]]


def test_the_smallest_that_reaches_the_mass_and_else_the_largest_feasible():
    shares = torch.tensor([[0.2, 0.5, 0.9], [0.6, 0.7, 0.8], [0.1, 0.2, 0.3]])
    offered = (10, 20, 40)
    assert smallest_budgets(shares, offered, (50, 50, 50), mass=0.5) == (20, 10, 40)
    assert smallest_budgets(shares, offered, (30, 50, 30), mass=0.9) == (20, 40, 20)
    assert smallest_budgets(shares, offered, (50, 9, 50), mass=0.5) == (20, 9, 40)


class TestSettings:
    def test_any_number_on_offer_may_be_fixed(self):
        assert ShirgXConfig(budget=128).offered == (128,)
        assert ShirgXConfig(budget="question").offered == (32, 64, 128, 256, 512, 768, 1024)
        assert ShirgXConfig().offered == (512, 768, 1024)
        with pytest.raises(ValueError, match=r"budget must be auto, question or one of 32, 64, .*, got 100"):
            ShirgXConfig(budget=100)

    def test_what_a_small_grid_cannot_hold_cannot_be_fixed(self):
        with pytest.raises(ValueError, match="one of 3, 7, 19, 20, 53, 60, 100, 131, got 200"):
            CONFIG.replace(budget=200)

    def test_another_grid_offers_the_same_shares_once(self):
        small = ShirgXConfig(budget=128).for_grid(12)
        assert (small.question_budgets, small.budget) == ((2, 4, 8, 16, 32, 48, 64), 8)
        assert ShirgXConfig(budgets=(1024,)).for_grid(4).question_budgets == (1, 2, 4, 5, 7)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"question_budgets": ()}, "question_budgets must be a list"),
            ({"question_budgets": (64, 32)}, "question_budgets must ascend"),
            ({"question_budgets": (0, 32)}, "each of question_budgets"),
            ({"question_mass": 1.5}, "question_mass must be a finite number from 0.0 to 1.0"),
            ({"budget": "question", "min_per_cell": 1}, "smallest budget, 32"),
            ({"budget": "questions"}, "auto, question or one of"),
        ],
    )
    def test_bad_settings_are_refused(self, changes, words):
        with pytest.raises(ValueError, match=words):
            ShirgXConfig(**changes)


def test_pages_of_different_grids_get_the_shares_they_get_alone():
    config = ShirgXConfig(grid=4, scaffold_factor=2, budgets=(5,), question_budgets=(1, 3, 7))
    grids = ((4, 4), (8, 4), (4, 4))
    generator = torch.Generator().manual_seed(3)
    detail, similarity = torch.randn(3, 32, 5, generator=generator), torch.rand(3, 32, generator=generator)
    dual = dual_scale(detail, grids, (2, 2))
    dual = replace(dual, inked=torch.rand(3, 32, generator=generator) < 0.5)
    together = question_shares(dual, similarity, config)
    for image, grid in enumerate(grids):
        alone = question_shares(dual.take([image]), similarity[image : image + 1, : grid[0] * grid[1]], config)
        assert torch.equal(alone[0], together[image])
