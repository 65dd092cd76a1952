"""The laws that every peer keeps, the registry, and peers that judge patches one by one."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shirg.baselines import BASELINES, scaled_down_side
from shirg.baselines.pooling import grid_shape, mean_pooled
from shirg.scaffold import pool_scaffold
from tests.baselines_helpers import BATCH, CELLS, DIM, FACTOR, GRID, chosen, image_of, inputs, run, view

CHOOSERS = sorted(set(BASELINES) - {"all_patches", "mean_pooled", "scaffold_only", "tome"})
BUDGETED = sorted([*CHOOSERS, "mean_pooled", "tome"])
SMALLEST = 12
"""Candidates of the most padded page: two rows of six patches."""


def total_for(name, keep):
    return keep + CELLS * BASELINES[name].scaffold


@settings(max_examples=12, deadline=None, derandomize=True)
@given(keep=st.integers(1, SMALLEST), seed=st.integers(0, 99), padded=st.booleans())
@pytest.mark.parametrize("name", CHOOSERS)
def test_choosers_keep_exactly_so_many_distinct_candidates_in_raster_order(name, keep, seed, padded):
    dual = view(seed, padded=padded)
    tokens = run(name, dual, total_for(name, keep))
    assert tokens.lengths == (keep,) * BATCH
    assert torch.equal(tokens.areas, torch.ones(BATCH, keep))
    for image, patches in enumerate(chosen(tokens, dual)):
        assert patches == sorted(set(patches))
        assert dual.candidates[image, patches].all()


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("padded", [False, True])
def test_the_same_again_and_in_any_company(name, padded):
    dual, total = view(4, padded=padded), total_for(name, 7)
    together, again = run(name, dual, total), run(name, dual, total)
    for field in ("features", "boxes", "areas"):
        torch.testing.assert_close(getattr(again, field), getattr(together, field), rtol=0, atol=0)
    if "generator" in BASELINES[name].needs:
        return
    everything = inputs()
    for image, length in enumerate(together.lengths):
        given_one = {key: everything[key][image : image + 1] for key in ("pixels", "similarity")}
        alone = run(name, image_of(dual, image), total, **given_one)
        assert alone.lengths == (length,)
        for field in ("features", "boxes", "areas"):
            torch.testing.assert_close(getattr(alone, field)[0, :length], getattr(together, field)[image, :length])


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_gathered_behind_the_own_channels_goes_along_and_decides_nothing(name):
    dual, total = view(6), total_for(name, 7)
    gathered = 50 * torch.randn(BATCH, GRID**2, 3, generator=torch.Generator().manual_seed(8))
    wider = replace(
        dual,
        detail=torch.cat([dual.detail, gathered], -1),
        scaffold=torch.cat([dual.scaffold, pool_scaffold(gathered, grid=(GRID, GRID), cells=(3, 3))], -1),
        own_dim=DIM,
    )
    tokens, again = run(name, dual, total), run(name, wider, total)
    torch.testing.assert_close(again.boxes, tokens.boxes)
    torch.testing.assert_close(again.features[..., :DIM], tokens.features)
    assert again.features.shape[2] == DIM + 3


@pytest.mark.parametrize("name", BASELINES)
def test_features_keep_their_dtype_and_pass_the_only_gradient(name):
    dual = view(2, dtype=torch.bfloat16)
    dual.detail.requires_grad_()
    tokens = run(name, dual, total_for(name, 7))
    assert tokens.features.dtype == torch.bfloat16
    assert not tokens.boxes.requires_grad
    if tokens.features.numel():
        (gradient,) = torch.autograd.grad(tokens.features.float().sum(), dual.detail)
        # Each token is a mean, so its patches share a gradient of one per dimension.
        expected = torch.full((BATCH,), float(tokens.features.shape[1] * DIM))
        torch.testing.assert_close(gradient.float().sum(dim=(1, 2)), expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", BUDGETED)
def test_half_precision_and_autocast_decide_as_float32_does(name):
    dual = view(3, dtype=torch.bfloat16)
    exact = replace(dual, detail=dual.detail.float(), scaffold=dual.scaffold.float())
    expected = run(name, exact, total_for(name, 7))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = run(name, dual, total_for(name, 7))
    torch.testing.assert_close(actual.boxes, expected.boxes, rtol=0, atol=0)
    torch.testing.assert_close(actual.features, expected.features.bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, baseline in BASELINES.items() if baseline.needs])
def test_what_is_needed_is_asked_for(name):
    (need,) = BASELINES[name].needs
    dual, given_all = view(), inputs()
    if need == "attention":
        dual = replace(dual, attention_received=None)
    else:
        del given_all[need]
    with pytest.raises(ValueError, match=f"reads {need}, which is missing"):
        BASELINES[name](dual, total=20, **given_all)


@pytest.mark.parametrize("name", BASELINES)
def test_what_is_not_needed_is_not_asked_for(name):
    needs = BASELINES[name].needs
    dual = view() if "attention" in needs else replace(view(), attention_received=None)
    given_some = {key: value for key, value in inputs().items() if key in needs}
    assert BASELINES[name](dual, total=20, **given_some).lengths == run(name, view(), 20).lengths


def test_a_scaffold_costs_its_tokens():
    dual = view()
    assert BASELINES["scaffold_random"].scaffold
    assert run("scaffold_random", dual, CELLS + 5).lengths == (5,) * BATCH
    assert replace(BASELINES["divprune"], scaffold=True)(dual, total=CELLS + 5).lengths == (5,) * BATCH
    with pytest.raises(ValueError, match=f"total of {CELLS} leaves no detail tokens beside {CELLS}"):
        run("scaffold_random", dual, CELLS)
    with pytest.raises(ValueError, match="total of 0 leaves"):
        run("divprune", dual, 0)


def test_too_few_candidates_are_refused_unless_the_caller_vouches():
    dual = view(padded=True)
    assert dual.candidates.sum(dim=1).tolist() == [36, 24, SMALLEST]
    with pytest.raises(ValueError, match="image 2 has 12 candidate patches, fewer than the 13 to keep"):
        run("divprune", dual, SMALLEST + 1)
    with pytest.raises(ValueError, match="image 1 has 3 candidate patches"):
        run("divprune", dual, 5, candidate_counts=(9, 3, 9))


def test_reference_rows_have_their_own_number_of_tokens():
    dual = view(padded=True)
    everything, nothing = run("all_patches", dual, 20), run("scaffold_only", dual, 20)
    assert everything.lengths == (36, 24, 12)
    for image, patches in enumerate(chosen(everything, dual)):
        assert patches == dual.candidates[image].nonzero()[:, 0].tolist()
    assert (everything.features[1, 24:] == 0).all()
    assert (everything.boxes[1, 24:] == 0).all()
    assert everything.areas.sum(dim=1).tolist() == [36, 24, 12]
    assert nothing.lengths == (0, 0, 0)
    assert nothing.features.shape == (BATCH, 0, DIM)
    assert BASELINES["scaffold_only"].scaffold
    assert not BASELINES["all_patches"].scaffold


class TestRandom:
    def test_seeds_differ_and_repeat(self):
        def draw(seed):
            generator = torch.Generator().manual_seed(seed)
            return chosen(run("scaffold_random", view(), CELLS + 7, generator=generator), view())

        assert draw(1) == draw(1) != draw(2)
        assert len({tuple(patches) for patches in draw(1)}) == BATCH

    def test_every_candidate_is_equally_likely(self):
        dual, generator, trials = view(padded=True), torch.Generator().manual_seed(0), 600
        counts = torch.zeros(BATCH, GRID**2)
        for _ in range(trials):
            for image, patches in enumerate(chosen(run("scaffold_random", dual, CELLS + 6, generator=generator), dual)):
                counts[image, patches] += 1
        expected = 6 / dual.candidates.sum(dim=1, keepdim=True) * dual.candidates
        deviation = (trials * expected * (1 - expected)).sqrt()
        assert ((counts - trials * expected).abs() <= 4 * deviation).all()


def test_uniform_stride_takes_the_middle_of_equal_shares():
    dual = view(padded=True)
    patches = chosen(run("uniform_stride", dual, 5), dual)
    for image, kept in enumerate(patches):
        candidates = dual.candidates[image].nonzero()[:, 0].tolist()
        assert kept == [candidates[int((share + 0.5) / 5 * len(candidates))] for share in range(5)]


@pytest.mark.parametrize("name", ["feature_norm", "ink", "attention"])
def test_one_number_ranks_the_planted_patches_first(name):
    dual, given_all, planted = view(padded=True), inputs(), [[2, 3, 8, 20], [8, 14, 15, 21], [12, 13, 20, 23]]
    for image, patches in enumerate(planted):
        for patch in patches:
            dual.detail[image, patch] *= 9
            dual.attention_received[image, patch] += 1
            row, column = divmod(patch, GRID)
            given_all["pixels"][image, :, row * 4 : row * 4 + 4, column * 4 + 2 : column * 4 + 4] += 3
        dual.detail[image, 0] *= 0.01 if dual.candidates[image, 0] else 99
        dual.attention_received[image, 0] += 0 if dual.candidates[image, 0] else 9
    assert chosen(run(name, dual, 4, **given_all), dual) == planted


def test_ink_is_the_variance_of_gray():
    dual, pixels = view(), inputs()["pixels"]
    gray = pixels[:, 0] * 0.299 + pixels[:, 1] * 0.587 + pixels[:, 2] * 0.114
    for image, patches in enumerate(chosen(run("ink", dual, 7, pixels=pixels), dual)):
        values = [
            gray[image, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4].var()
            for row in range(6)
            for column in range(6)
        ]
        assert patches == sorted(sorted(range(36), key=lambda patch: -values[patch])[:7])
    scaled = chosen(run("ink", dual, 7, pixels=pixels * 2 - 1), dual)
    assert scaled == chosen(run("ink", dual, 7, pixels=pixels), dual)


@pytest.mark.parametrize("color", [0, 1, 2])
def test_ink_weighs_colors_as_the_eye_does(color):
    contrast = torch.tensor([0.114 * 0.587, 0.299 * 0.114, 0.299 * 0.587])
    contrast[color] *= 1.01
    pixels = torch.zeros(BATCH, 3, GRID * 4, GRID * 4)
    for channel in range(3):
        pixels[:, channel, 4:8, 4 * channel : 4 * channel + 2] = contrast[channel]
    assert chosen(run("ink", view(), 1, pixels=pixels), view()) == [[GRID + color]] * BATCH


def test_close_scores_are_told_apart():
    scores = 1 + 1e-4 * torch.stack([torch.randperm(GRID**2) for _ in range(BATCH)])
    dual = replace(view(), attention_received=scores)
    assert chosen(run("attention", dual, 7), dual) == scores.topk(7, dim=1).indices.sort(dim=1).values.tolist()


@pytest.mark.parametrize("shape", [(25, 25), (24, 18)])
def test_ink_refuses_pixels_that_are_not_the_view(shape):
    with pytest.raises(ValueError, match="page behind a grid of 6 x 6"):
        run("ink", view(), 7, pixels=torch.rand(BATCH, 3, *shape))


def pool_by_loops(dual, image, rows, columns):
    """Features, boxes and areas of the cells of one image that hold candidates, cell by cell."""
    result = []
    for row in range(rows):
        for column in range(columns):
            members = [
                y * GRID + x
                for y in range(GRID)
                for x in range(GRID)
                if row * GRID // rows <= y < -(-(row + 1) * GRID // rows)
                and column * GRID // columns <= x < -(-(column + 1) * GRID // columns)
                and dual.candidates[image, y * GRID + x]
            ]
            if members:
                x, y, h, w = dual.boxes[image, members].unbind(1)
                bounds = ((y + h / 2).max() - (y - h / 2).min(), (x + w / 2).max() - (x - w / 2).min())
                box = torch.stack((x.mean(), y.mean(), *bounds))
                result.append((dual.detail[image, members].mean(dim=0), box, torch.tensor(float(len(members)))))
    return [torch.stack(parts) for parts in zip(*result, strict=True)]


class TestMeanPooled:
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(keep=st.integers(1, SMALLEST), seed=st.integers(0, 9), share=st.sampled_from([0.3, 0.8, 1.0]))
    def test_follows_the_definition(self, keep, seed, share):
        holes = torch.rand(BATCH, GRID**2, generator=torch.Generator().manual_seed(seed)) < share
        dual = replace(view(seed), candidates=holes)
        tokens = mean_pooled(dual, keep=keep)
        for image, length in enumerate(tokens.lengths):
            expected = pool_by_loops(dual, image, *grid_shape(keep, grid=(GRID, GRID)))
            for actual, wanted in zip((tokens.features, tokens.boxes, tokens.areas), expected, strict=True):
                torch.testing.assert_close(actual[image, :length], wanted)
                assert (actual[image, length:] == 0).all()

    def test_at_the_scaffolds_count_it_is_the_scaffold(self):
        dual = view()
        tokens = mean_pooled(dual, keep=CELLS)
        torch.testing.assert_close(tokens.features, dual.scaffold)
        torch.testing.assert_close(tokens.boxes, dual.scaffold_boxes)
        assert (tokens.areas == FACTOR**2).all()

    @pytest.mark.parametrize(
        ("keep", "shape"),
        [
            (1, (1, 1)),
            (3, (1, 2)),
            (7, (2, 3)),
            (24, (4, 6)),
            (144, (12, 12)),
            (911, (26, 35)),
            (912, (24, 38)),
            (2304, (48, 48)),
            (9999, (48, 48)),
        ],
    )
    def test_the_grid_is_the_largest_that_is_no_strip(self, keep, shape):
        assert grid_shape(keep, grid=(48, 48)) == shape


@pytest.mark.parametrize(("total", "side"), [(2304, 672), (2303, 658), (912, 420), (1, 14), (3, 14), (4, 28)])
def test_the_scaled_down_view_is_the_largest_that_fits(total, side):
    assert scaled_down_side(total, patch_size=14) == side


def test_a_view_without_patches_is_refused():
    with pytest.raises(ValueError, match="got a total of 0"):
        scaled_down_side(0, patch_size=14)
