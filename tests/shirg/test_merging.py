"""Matching against plain loops, ties and all; merging conserves what it should."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from shirg.coordinates import grid_boxes
from shirg.merging import match_checkerboard, merge_tokens

# Of norm five or ten, with at most two entries: every cosine is a sum of two products, exact in any order.
DIRECTIONS = torch.tensor([[3, 4, 0], [4, 3, 0], [5, 0, 0], [0, 3, 4], [0, 4, 3], [0, 8, 6]], dtype=torch.float32)


def match_by_loops(features, scores, candidates, *, grid, epsilon, min_cosine, max_merges):
    """One image, by the definition."""
    units = functional.normalize(features.float(), dim=-1)
    matches, (rows, columns) = [], grid
    for black in range(rows * columns):
        row, column = divmod(black, columns)
        if (row + column) % 2 == 0 or not candidates[black]:
            continue
        best = None
        for other_row, other_column in ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)):
            white = other_row * columns + other_column
            if not (0 <= other_row < rows and 0 <= other_column < columns) or not candidates[white]:
                continue
            cosine = (units[black] * units[white]).sum()
            if (scores[black] - scores[white]).abs() < epsilon and cosine >= min_cosine:
                best = max(best or (-2.0, 0), (cosine.item(), -white))
        if best is not None:
            matches.append((-best[0], black, -best[1]))
    assignment = list(range(rows * columns))
    for _, black, white in sorted(matches)[: max(0, max_merges)]:
        assignment[black] = white
    return assignment


def merge_by_loops(features, boxes, scores, assignment):
    """One image: every token from the list of its patches."""
    patches, dim = features.shape
    result = [torch.zeros(patches, dim), torch.zeros(patches, 4), torch.zeros(patches), torch.zeros(patches)]
    for token in range(patches):
        members = [patch for patch in range(patches) if assignment[patch] == token]
        if not members:
            continue
        x, y, h, w = boxes[members].unbind(1)
        result[0][token] = features[members].float().mean(dim=0)
        result[1][token] = torch.stack(
            (
                x.mean(),
                y.mean(),
                (y + h / 2).max() - (y - h / 2).min(),
                (x + w / 2).max() - (x - w / 2).min(),
            )
        )
        result[2][token] = scores[members].mean()
        result[3][token] = len(members)
    return result


def random_images(grid, batch, seed, share=0.8):
    generator = torch.Generator().manual_seed(seed)
    patches = math.prod(grid)
    choice = torch.randint(0, len(DIRECTIONS), (batch, patches), generator=generator)
    scores = torch.randint(0, 9, (batch, patches), generator=generator) / 64
    candidates = torch.rand(batch, patches, generator=generator) < share
    max_merges = torch.randint(-1, patches // 2 + 1, (batch,), generator=generator)
    return DIRECTIONS[choice], scores, candidates, max_merges


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    grid=st.sampled_from([(1, 1), (1, 7), (2, 2), (3, 5), (5, 3), (8, 8), (11, 2)]),
    epsilon=st.sampled_from([0.0, 2 / 64, 1.0]),
    min_cosine=st.sampled_from([-1.0, 0.7, 0.95, 1.5]),
    seed=st.integers(0, 999),
)
def test_matching_and_merging_follow_the_definition(grid, epsilon, min_cosine, seed):
    features, scores, candidates, max_merges = random_images(grid, 3, seed)
    boxes = grid_boxes(grid).expand(3, -1, -1)
    options = {"grid": grid, "epsilon": epsilon, "min_cosine": min_cosine}
    assignment = match_checkerboard(features, scores, candidates, max_merges=max_merges, **options)
    merged = merge_tokens(features, boxes, scores, assignment, grid=grid)
    for image in range(3):
        limit = max_merges[image].item()
        expected = match_by_loops(features[image], scores[image], candidates[image], max_merges=limit, **options)
        assert assignment[image].tolist() == expected
        tokens = merge_by_loops(features[image], boxes[image], scores[image], expected)
        for actual, wanted in zip((merged.features, merged.boxes, merged.scores, merged.areas), tokens, strict=True):
            torch.testing.assert_close(actual[image], wanted)


def test_a_planted_pair_is_found_and_only_that():
    grid, dim = (7, 7), 50
    features, scores = torch.randn(1, 49, dim), torch.full((1, 49), 0.5)
    features[0, 17] = 3 * features[0, 16]
    assignment = match_checkerboard(
        features,
        scores,
        torch.ones(1, 49, dtype=torch.bool),
        grid=grid,
        epsilon=0.05,
        min_cosine=0.9,
        max_merges=torch.tensor([49]),
    )
    expected = torch.arange(49)
    expected[17] = 16
    assert torch.equal(assignment[0], expected)


def test_epsilon_is_strict_and_the_cosine_is_not():
    scores = torch.tensor([[0.25, 0.25 + 0.0625, 0.0, 0.0]])
    features = DIRECTIONS[[0, 0, 2, 3]][None]
    everyone, limit = torch.ones(1, 4, dtype=torch.bool), torch.tensor([4])
    cosine = functional.normalize(features, dim=-1)[0, :2].prod(dim=0).sum().item()

    def folded(epsilon, min_cosine):
        options = {"grid": (2, 2), "epsilon": epsilon, "min_cosine": min_cosine, "max_merges": limit}
        return match_checkerboard(features, scores, everyone, **options)[0, 1].item() == 0

    assert not folded(0.0625, cosine)
    assert folded(0.0626, cosine)
    assert not folded(0.0626, cosine + 1e-6)


def test_an_even_page_folds_to_half_and_never_below():
    grid = 48
    everyone = torch.ones(1, grid**2, dtype=torch.bool)
    features, scores = torch.ones(1, grid**2, 3), torch.zeros(1, grid**2)
    options = {"grid": (grid, grid), "epsilon": 0.05, "min_cosine": 0.9}
    unlimited = match_checkerboard(features, scores, everyone, max_merges=torch.tensor([grid**2]), **options)
    assert (unlimited[0] == torch.arange(grid**2)).sum() == 1152
    limited = match_checkerboard(features, scores, everyone, max_merges=torch.tensor([100]), **options)
    moved = (limited[0] != torch.arange(grid**2)).nonzero()[:, 0]
    # All cosines are equal, so the earliest hundred black patches go, each up or to the left.
    assert moved.tolist() == unlimited[0].ne(torch.arange(grid**2)).nonzero()[:100, 0].tolist()
    assert (limited[0, moved] < moved)[1:].all()


def test_weighted_sums_are_conserved():
    features, scores, candidates, _ = random_images((8, 8), 2, seed=5)
    boxes = grid_boxes((8, 8)).expand(2, -1, -1)
    assignment = match_checkerboard(
        features, scores, candidates, grid=(8, 8), epsilon=1.0, min_cosine=0.0, max_merges=torch.tensor([64, 11])
    )
    merged = merge_tokens(features, boxes, scores, assignment, grid=(8, 8))
    assert (merged.areas == 0).sum(dim=1).tolist()[1] == 11
    areas = merged.areas[..., None]
    torch.testing.assert_close((merged.features * areas).sum(dim=1), features.sum(dim=1))
    torch.testing.assert_close((merged.boxes * areas)[..., :2].sum(dim=1), boxes[..., :2].sum(dim=1))
    torch.testing.assert_close((merged.scores * merged.areas).sum(dim=1), scores.sum(dim=1))
    torch.testing.assert_close(merged.areas.sum(dim=1), torch.tensor([64.0, 64.0]))


def test_a_batch_merges_like_its_images_alone():
    features, scores, candidates, max_merges = random_images((8, 8), 3, seed=7)
    features = features + 0.1 * torch.randn_like(features)
    boxes = grid_boxes((8, 8)).expand(3, -1, -1)

    def run(images):
        assignment = match_checkerboard(
            features[images],
            scores[images],
            candidates[images],
            grid=(8, 8),
            epsilon=0.1,
            min_cosine=0.8,
            max_merges=max_merges[images],
        )
        return assignment, merge_tokens(features[images], boxes[images], scores[images], assignment, grid=(8, 8))

    together_assignment, together = run(slice(0, 3))
    for image in range(3):
        one = slice(image, image + 1)
        assignment, alone = run(one)
        assert torch.equal(together_assignment[one], assignment)
        for name in ("features", "boxes", "scores", "areas"):
            torch.testing.assert_close(getattr(together, name)[one], getattr(alone, name), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_unmerged_tokens_are_untouched_and_keep_their_dtype(dtype):
    features, scores, boxes = torch.randn(2, 25, 3).to(dtype), torch.rand(2, 25), grid_boxes((5, 5)).expand(2, -1, -1)
    merged = merge_tokens(features, boxes, scores, torch.arange(25).expand(2, -1), grid=(5, 5))
    for actual, expected in ((merged.features, features), (merged.boxes, boxes), (merged.scores, scores)):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_half_precision_is_averaged_in_float32():
    features = torch.tensor([[[256.0], [1.0], [1.0], [0.0]]]).bfloat16()
    merged = merge_tokens(
        features, grid_boxes((2, 2))[None], torch.zeros(1, 4), torch.tensor([[0, 0, 0, 3]]), grid=(2, 2)
    )
    # In bf16, 256 + 1 is 256 and the ones would vanish.
    torch.testing.assert_close(merged.features[0, 0], torch.tensor([86.0]).bfloat16(), rtol=0, atol=0)


def test_half_precision_is_matched_in_float32():
    features, scores = torch.randn(2, 49, 5).bfloat16() + 2, torch.zeros(2, 49)
    everyone, limit = torch.ones(2, 49, dtype=torch.bool), torch.tensor([13, 13])
    low, high = (
        match_checkerboard(each, scores, everyone, grid=(7, 7), epsilon=0.1, min_cosine=0.9, max_merges=limit)
        for each in (features, features.float())
    )
    assert torch.equal(low, high)
