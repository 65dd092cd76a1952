"""SHIRG-X's own weights: they start alike whatever was drawn before, and drawing them moves no generator."""

import pytest
import torch

from shirg.config import ShirgXConfig
from shirg.module import ShirgX


@pytest.mark.parametrize("similarity", ["projected", "learned"])
def test_fresh_weights_are_alike_whatever_was_drawn_before(similarity):
    config = ShirgXConfig(grid=12, budgets=(11, 13), budget=11, similarity=similarity)
    states = []
    for seed in (3, 5):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        states.append(ShirgX(config, vision_dim=24, word_dim=20).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
        torch.randn(7)
    first, second = states
    assert first.keys() == second.keys()
    assert any(name.startswith("relevance.") for name in first) == (similarity == "learned")
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(value.ndim > 1 and value.std() > 0 for value in first.values())
