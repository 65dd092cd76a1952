"""Similarities against slow twins, with planted patches and with questions that say nothing."""

import pytest
import torch
from torch.nn import functional

from shirg.config import ShirgXConfig
from shirg.sources import SOURCES
from shirg.sources.attention import attention_similarity
from shirg.sources.inputs import SourceInputs
from shirg.sources.learned import LearnedRelevance
from shirg.sources.projected import projected_similarity
from shirg.sources.siglip import siglip_similarity

BATCH, PATCHES, WORDS, DIM = 2, 11, 5, 7


def by_loops(patches, words, mask):
    """Each patch against each word, one at a time."""
    result = torch.zeros(patches.shape[:2])
    for image in range(patches.shape[0]):
        for patch in range(patches.shape[1]):
            cosines = [
                functional.cosine_similarity(patches[image, patch], words[image, word], dim=0)
                for word in range(words.shape[1])
                if mask[image, word]
            ]
            result[image, patch] = max(cosines, default=torch.tensor(0.0))
    return result


@pytest.fixture
def inputs():
    mask = torch.tensor([[True, False, True, True, False], [False, True, False, False, True]])
    return torch.randn(BATCH, PATCHES, DIM), torch.randn(BATCH, WORDS, DIM), mask


def test_projected_is_the_highest_cosine_over_real_words(inputs):
    torch.testing.assert_close(projected_similarity(*inputs), by_loops(*inputs))


def test_projected_finds_a_planted_word_whatever_its_length(inputs):
    patches, words, mask = inputs
    patches[0, 3] = 100 * words[0, 2]
    patches[1, 8] = 0.01 * words[1, 4]
    found = projected_similarity(patches, words, mask)
    assert found.argmax(dim=1).tolist() == [3, 8]
    torch.testing.assert_close(found.amax(dim=1), torch.ones(BATCH))


def test_a_question_without_words_scores_zero_and_passes_no_bad_gradient(inputs):
    patches, words, mask = inputs
    mask[1] = False
    patches.requires_grad_()
    scores = projected_similarity(patches, words, mask)
    scores.square().sum().backward()
    assert torch.equal(scores[1], torch.zeros(PATCHES))
    assert patches.grad.isfinite().all()
    assert patches.grad[0].abs().sum() > 0


def test_siglip_is_the_cosine_with_the_question(inputs):
    patches, words, _ = inputs
    text = words[:, 1]
    expected = by_loops(patches, text[:, None], torch.ones(BATCH, 1, dtype=torch.bool))
    torch.testing.assert_close(siglip_similarity(patches, text), expected)


def test_attention_is_passed_on_in_float32():
    received = torch.rand(BATCH, PATCHES).bfloat16()
    torch.testing.assert_close(attention_similarity(received), received.float(), rtol=0, atol=0)


def test_half_precision_inputs_are_compared_in_float32(inputs):
    patches, words, mask = inputs
    patches, words = patches.bfloat16(), words.bfloat16()
    expected = projected_similarity(patches.float(), words.float(), mask)
    torch.testing.assert_close(projected_similarity(patches, words, mask), expected, rtol=0, atol=0)


@pytest.mark.parametrize("source", ["projected", "learned"])
def test_autocast_does_not_round_scores(inputs, source):
    compare = projected_similarity if source == "projected" else LearnedRelevance(DIM, DIM, dim=3)
    expected = compare(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = compare(*inputs)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


class TestLearnedRelevance:
    def test_full_size(self):
        assert sum(weight.numel() for weight in LearnedRelevance(1152, 4096).parameters()) == 671_744

    def test_matches_its_definition(self, inputs):
        patches, _, mask = inputs
        words = torch.randn(BATCH, WORDS, 13)
        relevance = LearnedRelevance(DIM, 13, dim=3)
        mapped_patches = torch.zeros(BATCH, PATCHES, 3)
        mapped_words = torch.zeros(BATCH, WORDS, 3)
        for mapped, raw, linear in (
            (mapped_patches, patches, relevance.patch_map),
            (mapped_words, words, relevance.word_map),
        ):
            for image in range(BATCH):
                for row in range(raw.shape[1]):
                    vector = raw[image, row]
                    normed = (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()
                    mapped[image, row] = linear.weight @ normed
        torch.testing.assert_close(relevance(patches, words, mask), by_loops(mapped_patches, mapped_words, mask))

    def test_heads_look_for_a_word_each(self, inputs):
        patches, _, mask = inputs
        words = torch.randn(BATCH, WORDS, 13)
        relevance = LearnedRelevance(DIM, 13, dim=6, heads=3)
        alone = []
        for head in range(3):
            own = slice(2 * head, 2 * head + 2)
            single = LearnedRelevance(DIM, 13, dim=2)
            single.patch_map.weight.data = relevance.patch_map.weight.data[own].clone()
            single.word_map.weight.data = relevance.word_map.weight.data[own].clone()
            alone.append(single(patches, words, mask))
        assert not torch.allclose(alone[0], alone[1])
        torch.testing.assert_close(relevance(patches, words, mask), sum(alone) / 3)

    def test_one_loud_channel_does_not_decide(self, inputs):
        # Shifting and scaling whole vectors is what norm undoes.
        relevance = LearnedRelevance(DIM, DIM, dim=3)
        patches, words, mask = inputs
        torch.testing.assert_close(
            relevance(1000 * patches + 50, words, mask), relevance(patches, words, mask), atol=1e-4, rtol=0
        )

    def test_starts_with_orthonormal_maps_and_usable_gradients(self, inputs):
        relevance = LearnedRelevance(DIM, DIM, dim=3)
        for linear in (relevance.patch_map, relevance.word_map):
            torch.testing.assert_close(linear.weight @ linear.weight.T, torch.eye(3))
        scores = relevance(*inputs)
        assert scores.std(dim=1).min() > 0.05
        scores[:, 0].sum().backward()
        assert relevance.patch_map.weight.grad.abs().sum() > 0
        assert relevance.word_map.weight.grad.abs().sum() > 0

    def test_low_precision_weights_still_score_in_float32(self, inputs):
        relevance = LearnedRelevance(DIM, DIM, dim=3).bfloat16()
        expected = relevance(*inputs)
        torch.testing.assert_close(relevance.float()(*inputs), expected, rtol=0, atol=0)


class TestRegistry:
    def test_each_source_scores_from_what_it_says_it_needs_alone(self) -> None:
        batch, patches, dim, words, width, embedding = 2, 11, 5, 3, 7, 13
        generator = torch.Generator().manual_seed(0)
        given = {
            "projected": torch.randn(batch, patches, width, generator=generator),
            "words": torch.randn(batch, words, width, generator=generator),
            "text": torch.randn(batch, embedding, generator=generator),
            "attention": torch.rand(batch, patches, generator=generator),
            "values": torch.randn(batch, patches, embedding, generator=generator),
        }
        mask = torch.ones(batch, words, dtype=torch.bool)
        for source in SOURCES.values():
            inputs = {need: given[need] for need in source.needs}
            if "words" in source.needs:
                inputs["word_mask"] = mask
            # Wide enough for what a tower may gather: three vectors in the space of words.
            channels = dim + 3 * width
            weights = None if source.weights is None else source.weights(channels, width, 4)
            features = torch.randn(batch, patches, channels, generator=generator)
            scores = source.score(SourceInputs(patches=features, weights=weights, **inputs))
            assert scores.shape == (batch, patches)
            assert scores.dtype == torch.float32

    def test_what_a_configuration_must_load_follows_from_its_source(self) -> None:
        reads = {name: ShirgXConfig(similarity=name).reads_left_out_layers for name in SOURCES}
        assert reads == {"projected": False, "learned": False, "matched": False, "attention": True, "siglip": True}
        assert not ShirgXConfig(similarity="attention", attention_layer="selected").reads_left_out_layers
        assert [name for name, source in SOURCES.items() if not source.reads_question] == ["attention"]
