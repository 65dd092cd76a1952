"""The score against its definition in plain loops, its ties, its edges and its independence of the batch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes
from shirg.scoring import find_anchors, normalize_similarity, score_tokens, term_spread


def config_for(grid, **changes):
    return ShirgXConfig(grid=grid, scaffold_factor=grid, budgets=(1,), **changes)


def anchors_by_loops(similarity, candidates, grid):
    peaks, (rows, columns) = [], grid
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        around = [
            other
            for other in range(rows * columns)
            if max(abs(other // columns - row), abs(other % columns - column)) == 1 and candidates[other]
        ]
        if candidates[patch] and all(similarity[patch] > similarity[other] for other in around):
            peaks.append(patch)
    peaks.sort(key=lambda patch: (-similarity[patch], patch))
    return peaks[: math.ceil(rows * columns / 36)]


def score_by_loops(similarity, boxes, candidates, config, grid):
    """One image, by the definition."""
    open_patches = [patch for patch in range(len(similarity)) if candidates[patch]]
    low = min(similarity[patch] for patch in open_patches)
    high = max(similarity[patch] for patch in open_patches)
    scaled = [(value - low) / (high - low) if high > low else 0.0 for value in similarity]
    anchors = anchors_by_loops(scaled, candidates, grid)
    total = []
    for patch in range(len(similarity)):
        here = boxes[patch][:2]
        if config.neighbor == "mean":
            neighbor = sum(math.dist(here, boxes[other][:2]) for other in open_patches) / len(open_patches)
        else:
            neighbor = min((math.dist(here, boxes[other][:2]) for other in anchors), default=0.0)
        total.append(
            config.similarity_weight * scaled[patch]
            - config.neighbor_weight * neighbor
            - config.center_weight * math.dist(here, (0.5, 0.5))
        )
    return total, anchors


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    grid=st.sampled_from([(1, 1), (2, 3), (3, 2), (7, 7), (13, 5), (5, 17)]),
    levels=st.sampled_from([1, 2, 5, 1000]),
    neighbor=st.sampled_from(["anchor", "mean"]),
    padded=st.booleans(),
    seed=st.integers(0, 999),
)
def test_scores_match_the_definition(grid, levels, neighbor, padded, seed):
    generator = torch.Generator().manual_seed(seed)
    batch = 3
    # Few levels make ties, which is where the rules about the earlier patch bite.
    similarity = torch.randint(-levels, levels + 1, (batch, math.prod(grid)), generator=generator).float() / 8
    boxes = grid_boxes(grid).expand(batch, -1, -1).contiguous()
    candidates = torch.ones(batch, math.prod(grid), dtype=torch.bool)
    if padded:
        candidates &= torch.rand(batch, math.prod(grid), generator=generator) < 0.7
        candidates[:, 0] = True
    config = config_for(1, neighbor=neighbor)
    scores = score_tokens(similarity, boxes, candidates, config, grid=grid)
    for image in range(batch):
        total, anchors = score_by_loops(
            similarity[image].tolist(), boxes[image].tolist(), candidates[image].tolist(), config, grid
        )
        mask = candidates[image]
        torch.testing.assert_close(scores.total[image][mask], torch.tensor(total)[mask], atol=1e-5, rtol=0)
        assert scores.anchors[image].nonzero()[:, 0].tolist() == sorted(anchors)


def test_similarity_spans_zero_to_one_over_candidates_only():
    similarity = torch.tensor([[-99.0, 2.0, 4.0, 3.0, 99.0]])
    candidates = torch.tensor([[False, True, True, True, False]])
    torch.testing.assert_close(
        normalize_similarity(similarity, candidates), torch.tensor([[0.0, 0.0, 1.0, 0.5, 0.0]]), rtol=0, atol=0
    )


def test_a_constant_image_scores_zero_even_with_rounding():
    everyone = torch.ones(3, 4, dtype=torch.bool)
    similarity = torch.tensor([0.3, 0.0, -0.3])[:, None].repeat(1, 4)
    similarity[0, 2] = torch.nextafter(similarity[0, 2], torch.tensor(1.0))
    assert torch.equal(normalize_similarity(similarity, everyone), torch.zeros(3, 4))


def test_a_constant_image_passes_no_bad_gradient():
    similarity = torch.zeros(1, 9, requires_grad=True)
    scores = score_tokens(
        similarity, grid_boxes((3, 3))[None], torch.ones(1, 9, dtype=torch.bool), config_for(3), grid=(3, 3)
    )
    scores.total.sum().backward()
    assert similarity.grad.isfinite().all()


def test_the_score_teaches_its_similarity():
    similarity = torch.rand(1, 9, requires_grad=True)
    scores = score_tokens(
        similarity, grid_boxes((3, 3))[None], torch.ones(1, 9, dtype=torch.bool), config_for(3), grid=(3, 3)
    )
    scores.total[0, 4].backward()
    assert similarity.grad[0, 4] > 0


def test_full_size_keeps_the_64_highest_peaks():
    similarity = torch.zeros(1, 48, 48)
    similarity[0, ::2, ::2] = torch.rand(24, 24) + 0.1
    flat = similarity.flatten(1)
    anchors = find_anchors(flat, torch.ones_like(flat, dtype=torch.bool), grid=(48, 48))
    torch.testing.assert_close(anchors, flat.topk(64).indices)


def test_a_plateau_is_no_peak():
    similarity = torch.zeros(1, 25)
    similarity[0, [7, 8]] = 1.0
    assert find_anchors(similarity, torch.ones(1, 25, dtype=torch.bool), grid=(5, 5)).tolist() == [[-1]]


def test_padding_is_no_peak_and_hides_none():
    similarity = torch.zeros(1, 25)
    similarity[0, [7, 8]] = torch.tensor([1.0, 9.0])
    candidates = torch.ones(1, 25, dtype=torch.bool)
    candidates[0, 8] = False
    assert find_anchors(similarity, candidates, grid=(5, 5)).tolist() == [[7]]


@pytest.mark.parametrize("name", ["similarity", "neighbor", "center"])
def test_a_weight_of_zero_removes_its_term(name):
    # Two terms at zero leave the third alone, with its sign.
    weights = {f"{term}_weight": 0.0 for term in ("similarity", "neighbor", "center")} | {f"{name}_weight": 0.3}
    similarity, everyone = torch.rand(2, 49), torch.ones(2, 49, dtype=torch.bool)
    boxes = grid_boxes((7, 7)).expand(2, -1, -1)
    scores = score_tokens(similarity, boxes, everyone, config_for(7, **weights), grid=(7, 7))
    sign, term = {
        "similarity": (1, scores.similarity),
        "neighbor": (-1, scores.neighbor_distance),
        "center": (-1, scores.center_distance),
    }[name]
    torch.testing.assert_close(scores.total, sign * 0.3 * term)
    assert term.std() > 0


def test_an_anchor_is_no_distance_from_itself():
    similarity = torch.rand(1, 48 * 48)
    scores = score_tokens(
        similarity, grid_boxes((48, 48))[None], torch.ones(1, 2304, dtype=torch.bool), ShirgXConfig(), grid=(48, 48)
    )
    assert scores.neighbor_distance[scores.anchors].abs().max() == 0
    assert scores.neighbor_distance[~scores.anchors].min() > 0.99 / 48


def test_mean_distance_ranks_as_the_center_does():
    # Why the anchors exist: this neighbor term repeats the center term.
    everyone = torch.ones(1, 576, dtype=torch.bool)
    config = ShirgXConfig(grid=24, budgets=(64,), neighbor="mean")
    scores = score_tokens(torch.rand(1, 576), grid_boxes((24, 24))[None], everyone, config, grid=(24, 24))
    ranks = [term[0].argsort().argsort().float() for term in (scores.neighbor_distance, scores.center_distance)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.999


def test_a_batch_scores_like_its_images_alone():
    similarity, boxes = torch.rand(3, 49), grid_boxes((7, 7)).expand(3, -1, -1)
    candidates = torch.rand(3, 49) < 0.8
    together = score_tokens(similarity, boxes, candidates, config_for(7), grid=(7, 7))
    for image in range(3):
        one = slice(image, image + 1)
        alone = score_tokens(similarity[one], boxes[one], candidates[one], config_for(7), grid=(7, 7))
        assert torch.equal(together.total[one], alone.total)
        assert torch.equal(together.anchors[one], alone.anchors)


def test_half_precision_similarity_is_scored_in_float32():
    similarity = torch.rand(2, 49).bfloat16()
    boxes, everyone = grid_boxes((7, 7)).expand(2, -1, -1), torch.ones(2, 49, dtype=torch.bool)
    low, high = (
        score_tokens(each, boxes, everyone, config_for(7), grid=(7, 7)) for each in (similarity, similarity.float())
    )
    assert torch.equal(low.total, high.total)


def test_spread_is_the_deviation_of_each_weighted_term_over_candidates():
    candidates = torch.rand(2, 49) < 0.6
    config = config_for(7, center_weight=0.0)
    scores = score_tokens(torch.rand(2, 49), grid_boxes((7, 7)).expand(2, -1, -1), candidates, config, grid=(7, 7))
    spread = term_spread(scores, candidates, config)
    for image in range(2):
        mask = candidates[image]
        expected = 0.2 * scores.neighbor_distance[image][mask].std(correction=0)
        torch.testing.assert_close(spread["neighbor"][image], expected)
        expected = 0.7 * scores.similarity[image][mask].std(correction=0)
        torch.testing.assert_close(spread["similarity"][image], expected)
    assert torch.equal(spread["center"], torch.zeros(2))


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="grid of 7 x 7 has 49 patches, but similarity holds 36"):
        score_tokens(
            torch.rand(1, 36), grid_boxes((6, 6))[None], torch.ones(1, 36, dtype=torch.bool), config_for(7), grid=(7, 7)
        )
