"""Confidences against their definitions in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from llava.model.language_model.diffusion.decoding import check_remasking
from llava.model.language_model.diffusion.sampling import confidence, log_odds, sample_tokens


def by_definition(logits: torch.Tensor, tokens: torch.Tensor, rule: str) -> torch.Tensor:
    """The rules as LaViDa states them, in float64."""
    probabilities = logits.double().softmax(-1)
    if rule == "low_confidence":
        return probabilities.gather(-1, tokens[..., None])[..., 0]
    if rule == "entropy":
        return (probabilities * (probabilities + 1e-10).log()).sum(-1)
    best, second = probabilities.topk(2, dim=-1).values.unbind(-1)
    return best - second


@pytest.mark.parametrize("rule", ["low_confidence", "entropy", "margin"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.3, 2.0, 5.0]))
def test_order_is_that_of_the_float64_definition(rule, seed, scale):
    logits = scale * torch.randn(2, 13, 37, generator=torch.Generator().manual_seed(seed))
    tokens = logits.argmax(-1)
    expected = by_definition(logits, tokens, rule)
    found = confidence(logits, tokens, rule)
    order = expected.argsort(-1)
    gaps = expected.gather(-1, order).diff(dim=-1)
    rising = found.gather(-1, order).diff(dim=-1)
    assert bool((rising > 0)[gaps > 1e-6].all())


def test_low_confidence_tells_sure_tokens_apart_where_float32_probabilities_are_all_one():
    logits = torch.zeros(1, 3, 11)
    logits[0, :, 5] = torch.tensor([30.0, 40.0, 35.0])
    tokens = logits.argmax(-1)
    assert bool((logits.softmax(-1).amax(-1) == 1).all())
    assert confidence(logits, tokens, "low_confidence").argsort().tolist() == [[0, 2, 1]]
    assert confidence(logits, tokens, "margin").argsort().tolist() == [[0, 2, 1]]
    assert confidence(logits, tokens, "entropy").argsort().tolist() == [[0, 2, 1]]


def test_log_odds_give_back_the_probability():
    logits = torch.randn(2, 5, 17)
    tokens = torch.randint(0, 17, (2, 5))
    expected = logits.softmax(-1).gather(-1, tokens[..., None])[..., 0]
    assert_close(log_odds(logits, tokens).sigmoid(), expected, atol=1e-6, rtol=1e-5)


def test_greedy_at_zero_temperature_and_reproducible_above():
    logits = torch.randn(2, 7, 29)
    assert torch.equal(sample_tokens(logits, 0.0), logits.argmax(-1))

    def draw(seed: int) -> torch.Tensor:
        return sample_tokens(logits, 1.5, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_samples_follow_the_tempered_distribution():
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(1, 20_000, 3)
    tokens = sample_tokens(logits, 2.0, torch.Generator().manual_seed(1))
    shares = torch.bincount(tokens.flatten(), minlength=3) / tokens.numel()
    assert_close(shares, (logits[0, 0] / 2.0).softmax(-1), atol=0.015, rtol=0)


def test_rule_names():
    assert check_remasking("entrophy") == "entropy"
    with pytest.raises(ValueError, match="confidense"):
        check_remasking("confidense")
