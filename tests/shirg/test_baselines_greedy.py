"""Peers that look at patches together, against slow twins and planted answers."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from shirg.baselines.greedy import mmr
from shirg.baselines.tome import tome
from shirg.baselines.topv import _cost, _masses, _transport_plan
from shirg.scaffold import pool_scaffold
from tests.baselines_helpers import BATCH, FACTOR, GRID, chosen, inputs, run, square, view

quick = settings(max_examples=20, deadline=None, derandomize=True)
cases = given(keep=st.integers(1, 12), seed=st.integers(0, 99), padded=st.booleans())


def parts(dual, image):
    """Candidates of one image and the cosine between any two of its patches, as numbers."""
    units = functional.normalize(dual.detail[image].double(), dim=1)
    return dual.candidates[image].nonzero()[:, 0].tolist(), (units @ units.T).tolist()


def by_steps(candidates, keep, score):
    """Greedy choice, one patch at a time: score(patch, chosen)."""
    kept = []
    for _ in range(keep):
        kept.append(max((patch for patch in candidates if patch not in kept), key=lambda patch: score(patch, kept)))
    return sorted(kept)


class TestDivPrune:
    @quick
    @cases
    def test_follows_the_definition(self, keep, seed, padded):
        dual = view(seed, padded=padded)
        for image, patches in enumerate(chosen(run("divprune", dual, keep), dual)):
            candidates, cosines = parts(dual, image)

            def score(patch, kept, candidates=candidates, cosines=cosines):
                others = kept or [other for other in candidates if other != patch]
                return min(1 - cosines[patch][other] for other in others)

            assert patches == by_steps(candidates, keep, score)

    def test_takes_one_of_each_planted_direction(self):
        generator = torch.Generator().manual_seed(0)
        groups = torch.arange(49) % 7
        detail = functional.one_hot(groups, 11).float() * (1 + torch.rand(49, 1, generator=generator))
        detail = (detail + 0.01 * torch.rand(49, 11, generator=generator))[None]
        (patches,) = chosen(run("divprune", square(detail=detail), 7), square(detail=detail))
        assert sorted(groups[patches].tolist()) == list(range(7))


class TestScope:
    @quick
    @cases
    def test_follows_the_definition(self, keep, seed, padded):
        dual = view(seed, padded=padded)
        for image, patches in enumerate(chosen(run("scope", dual, keep), dual)):
            candidates, cosines = parts(dual, image)
            saliency = dual.attention_received[image].tolist()

            def coverage(kept, candidates=candidates, cosines=cosines):
                return sum(max([0.0, *(cosines[patch][other] for other in kept)]) for patch in candidates)

            def score(patch, kept, coverage=coverage, saliency=saliency):
                return saliency[patch] * (coverage([*kept, patch]) - coverage(kept))

            assert patches == by_steps(candidates, keep, score)

    def test_leaves_a_covered_group_for_a_less_salient_one(self):
        groups = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
        detail = functional.one_hot(groups, 5).float() * torch.arange(1, 10)[:, None]
        saliency = torch.tensor([[0.9, 0.8, 0.7, 0.1, 0.2, 0.1, 0.01, 0.02, 0.03]])
        dual = square(detail=detail[None], attention=saliency)
        assert chosen(run("scope", dual, 3), dual) == [[0, 4, 8]]
        assert chosen(run("attention", dual, 3), dual) == [[0, 1, 2]]


class TestMmr:
    @quick
    @cases
    def test_follows_the_definition(self, keep, seed, padded):
        dual, similarity = view(seed, padded=padded), inputs(seed)["similarity"]
        for image, patches in enumerate(
            chosen(mmr(dual, keep=keep, similarity=similarity, relevance_weight=0.7), dual)
        ):
            candidates, cosines = parts(dual, image)
            raw = similarity[image].double()
            low, high = raw[candidates].min(), raw[candidates].max()
            relevance = ((raw - low) / (high - low)).tolist()

            def score(patch, kept, cosines=cosines, relevance=relevance):
                redundancy = max((cosines[patch][other] for other in kept), default=0.0)
                return 0.7 * relevance[patch] - 0.3 * redundancy

            assert patches == by_steps(candidates, keep, score)

    def test_weight_one_is_relevance_alone_and_others_are_refused(self):
        dual, similarity = view(), inputs()["similarity"]
        expected = similarity.topk(7, dim=1).indices.sort(dim=1).values.tolist()
        assert chosen(mmr(dual, keep=7, similarity=similarity, relevance_weight=1.0), dual) == expected
        with pytest.raises(ValueError, match=r"relevance_weight must be from 0 to 1, got 1\.5"):
            mmr(dual, keep=7, similarity=similarity, relevance_weight=1.5)


def test_equal_patches_go_to_the_earlier():
    dual = square(detail=torch.ones(1, 9, 5), attention=torch.ones(1, 9))
    for name in ("divprune", "scope", "mmr", "attention", "feature_norm", "ink"):
        tokens = run(name, dual, 4, pixels=torch.ones(1, 3, 6, 6), similarity=torch.ones(1, 9))
        torch.testing.assert_close(tokens.boxes, dual.boxes[:, :4], rtol=0, atol=0)


def merge_by_lists(dual, image, keep, rounds):
    """One image, each token a list of patches, headed by the one it grew from."""
    features = dual.detail[image].double()
    tokens = [[patch] for patch in dual.candidates[image].nonzero()[:, 0].tolist()]
    while len(tokens) > keep:
        merges = min(math.ceil((len(tokens) - keep) / rounds), len(tokens) // 2)
        rounds = max(1, rounds - 1)
        means = [functional.normalize(features[token].mean(dim=0), dim=0) for token in tokens]
        pairs = []
        for source in range(0, len(tokens), 2):
            cosines = [(float(means[source] @ means[target]), -target) for target in range(1, len(tokens), 2)]
            best = max(cosines)
            pairs.append((-best[0], source, -best[1]))
        gone = set()
        for _, source, target in sorted(pairs)[:merges]:
            tokens[target] = tokens[target] + tokens[source]
            gone.add(source)
        tokens = [token for index, token in enumerate(tokens) if index not in gone]
    return tokens


class TestToMe:
    @quick
    @given(keep=st.integers(1, 12), rounds=st.sampled_from([1, 2, 24]), seed=st.integers(0, 99), padded=st.booleans())
    def test_follows_the_definition(self, keep, rounds, seed, padded):
        dual = view(seed, padded=padded)
        tokens = tome(dual, keep=keep, rounds=rounds)
        assert tokens.lengths == (keep,) * BATCH
        assert tokens.features.shape[1] == keep
        for image in range(BATCH):
            for index, members in enumerate(merge_by_lists(dual, image, keep, rounds)):
                x, y, h, w = dual.boxes[image, members].unbind(1)
                bounds = ((y + h / 2).max() - (y - h / 2).min(), (x + w / 2).max() - (x - w / 2).min())
                torch.testing.assert_close(tokens.features[image, index], dual.detail[image, members].mean(dim=0))
                torch.testing.assert_close(tokens.boxes[image, index], torch.stack((x.mean(), y.mean(), *bounds)))
                assert tokens.areas[image, index] == len(members)

    def test_sums_are_conserved(self):
        dual = view(7, padded=True)
        tokens = run("tome", dual, 10)
        present, areas = dual.candidates[..., None], tokens.areas[..., None]
        torch.testing.assert_close((tokens.features * areas).sum(dim=1), (dual.detail * present).sum(dim=1))
        torch.testing.assert_close(
            (tokens.boxes * areas)[..., :2].sum(dim=1), (dual.boxes * present)[..., :2].sum(dim=1)
        )
        torch.testing.assert_close(tokens.areas.sum(dim=1), dual.candidates.sum(dim=1).float())

    def test_planted_twins_merge_first(self):
        dual = view(8)
        dual.detail[1, 20] = 3 * dual.detail[1, 15]
        tokens = tome(dual, keep=GRID**2 - 1)
        (merged,) = (tokens.areas[1] == 2).nonzero()[:, 0].tolist()
        torch.testing.assert_close(tokens.features[1, merged], 2 * dual.detail[1, 15])
        # Patch 20 is the source, and patch 15 keeps its place.
        assert merged == 15
        torch.testing.assert_close(tokens.features[1, [14, 16, 20]], dual.detail[1, [14, 16, 21]], rtol=0, atol=0)

    def test_gradients_reach_every_patch_by_its_share(self):
        dual = view(9)
        dual.detail.requires_grad_()
        tokens = tome(dual, keep=5)
        (gradient,) = torch.autograd.grad((tokens.features * tokens.areas[..., None]).sum(), dual.detail)
        torch.testing.assert_close(gradient, torch.ones_like(gradient))

    def test_no_round_is_refused(self):
        with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
            tome(view(), keep=5, rounds=0)


class TestTopV:
    def test_plan_follows_sinkhorn_in_plain_loops(self):
        dual = view(padded=True)
        cost, (source, target) = _cost(dual), _masses(dual)
        plan = _transport_plan(cost, source, target)
        for image in range(BATCH):
            kernel = (-cost[image].double() / 0.05).exp()
            rows, columns = torch.ones(36).double(), torch.ones(9).double()
            for _ in range(51):
                rows = source[image] / (kernel @ columns)
                last = columns
                columns = target[image] / (kernel.T @ rows)
            expected = rows[:, None] * kernel * last
            torch.testing.assert_close(plan[image].double(), expected, rtol=1e-3, atol=1e-6)

    def test_plan_has_the_masses_of_both_sides_and_none_of_padding(self):
        dual = view(padded=True)
        source, target = _masses(dual)
        plan = _transport_plan(_cost(dual), source, target)
        torch.testing.assert_close(plan.sum(dim=2), source)
        torch.testing.assert_close(plan.sum(dim=1), target, rtol=0.05, atol=1e-3)
        assert (plan[~dual.candidates] == 0).all()
        torch.testing.assert_close(target[2].view(3, 3), torch.tensor([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3)

    def test_two_by_two_has_a_closed_form(self):
        # Equal masses and a cost of c off the diagonal leave exp(-c / 0.05) of the diagonal's share there.
        cost = torch.tensor([[[0.0, 0.04], [0.04, 0.0]]])
        off = math.exp(-0.04 / 0.05)
        expected = torch.tensor([[[1, off], [off, 1]]]) / (2 * (1 + off))
        torch.testing.assert_close(_transport_plan(cost, torch.full((1, 2), 0.5), torch.full((1, 2), 0.5)), expected)

    def test_cost_adds_its_three_terms(self):
        dual = view()
        cost = _cost(dual)
        for patch, cell in ((0, 0), (13, 5), (35, 1)):
            features = functional.cosine_similarity(dual.detail[1, patch], dual.scaffold[1, cell], dim=0)
            place, target = dual.boxes[1, patch, :2], dual.scaffold_boxes[1, cell, :2]
            expected = 0.7 * (1 - features) + 0.2 * (place - target).norm() + 0.1 * (place - 0.5).norm()
            torch.testing.assert_close(cost[1, patch, cell], expected)

    def test_keeps_the_cheapest(self):
        dual = view(5)
        cost = _cost(dual)
        paid = (_transport_plan(cost, *_masses(dual)) * cost).sum(dim=2)
        expected = paid.topk(7, dim=1, largest=False).indices.sort(dim=1).values.tolist()
        assert chosen(run("topv", dual, 7), dual) == expected

    def test_drops_planted_patches_that_no_cell_resembles(self):
        dual = view(6)
        detail = torch.ones_like(dual.detail) + 0.01 * dual.detail
        strangers = [1, 16, 29]
        detail[:, strangers] = -detail[:, strangers]
        dual = replace(
            dual,
            detail=detail,
            scaffold=pool_scaffold(detail, grid=(GRID, GRID), cells=(GRID // FACTOR, GRID // FACTOR)),
        )
        for patches in chosen(run("topv", dual, GRID**2 - 3), dual):
            assert patches == [patch for patch in range(GRID**2) if patch not in strangers]
