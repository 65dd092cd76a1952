"""A training step where batches are on the host and the model is not."""

import pytest
import torch

from llava.data.batch import make_batch
from tests.losses_helpers import draw_all, page_groups, total_of, training_model


@pytest.mark.gpu
@pytest.mark.parametrize("similarity", ["projected", "learned"])
def test_a_gpu_finds_the_losses_of_a_cpu_and_a_gradient(similarity):
    module = training_model(similarity)
    batch = make_batch(page_groups(module.lavida, 3))
    draws = draw_all(batch)
    expected = {name: (value.item(), int(count)) for name, (value, count) in module(batch, draws).items()}
    parts = module.to("cuda")(batch.pin_memory(), draws)
    found = {name: (value.item(), int(count)) for name, (value, count) in parts.items()}
    assert found.keys() == expected.keys()
    for name, (value, count) in expected.items():
        assert found[name] == (pytest.approx(value, rel=1e-2), count)
    total_of(parts).backward()
    assert all(torch.isfinite(each.grad).all() for each in module.parameters() if each.grad is not None)
