"""The teachers of the learned relevance against their definitions, and the noise gate's laws."""

import math

import pytest
import torch
from torch.testing import assert_close

from llava.train.losses.relevance import noise_gate, relevance_loss

IMAGES, PATCHES, DIM = 3, 13, 5


def relevance():
    values = torch.rand(IMAGES, PATCHES, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return values.requires_grad_()


def test_the_relevance_s_loss_is_the_cross_entropy_with_what_is_wanted():
    cosines, wanted = relevance(), torch.zeros(IMAGES, PATCHES)
    wanted[0, [1, 4]] = torch.tensor([1.0, 3.0])
    wanted[2, 7] = 0.5
    value, count = relevance_loss(cosines, wanted, scale=3.0)
    expected = 0.0
    for row in (0, 2):
        weights = [math.exp(3 * cosine) for cosine in cosines[row].tolist()]
        shares = [share / wanted[row].sum().item() for share in wanted[row].tolist()]
        expected -= sum(share * math.log(weight / sum(weights)) for share, weight in zip(shares, weights, strict=True))
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert int(count) == 2
    value.backward()
    assert bool(cosines.grad.isfinite().all())
    assert (cosines.grad.abs().sum(1) > 0).tolist() == [True, False, True]


def test_distillation_is_least_where_relevance_has_the_shape_of_attention():
    attention = torch.rand(IMAGES, PATCHES, generator=torch.Generator().manual_seed(4)) + 0.1
    attention[1] = 0
    exact = (attention.clamp(min=1e-3).log() / 12).requires_grad_()
    value, count = relevance_loss(exact, 7 * attention)
    shares = attention / attention.sum(1, keepdim=True).clamp(min=1e-9)
    assert int(count) == 2
    assert_close(value, torch.special.entr(shares).sum())
    value.backward()
    assert exact.grad.abs().max() < 1e-5
    assert relevance_loss(relevance(), attention)[0] > value


def test_no_gradient_flows_into_attention():
    attention = torch.rand(IMAGES, PATCHES).requires_grad_()
    relevance_loss(relevance(), attention)[0].backward()
    assert attention.grad is None


@pytest.mark.parametrize("level", [-0.04, 0.0, 0.03])
def test_the_gate_keeps_mean_and_variance(level):
    generator = torch.Generator().manual_seed(6)
    features = 3 + 2 * torch.randn(2, 20011, 3, generator=generator)
    noise = torch.randn(features.shape, generator=generator)
    # All but the edge itself stand at one level below or above it, so that every gate is the same.
    cosines = torch.full((2, 20011), level)
    cosines[:, 0] = 0.0
    keep = 1 if level <= 0 else 20011
    gated = noise_gate(features, cosines, noise, keep=keep)
    assert_close(gated.mean(1), features.mean(1), atol=0.05, rtol=0)
    assert_close(gated.std(1), features.std(1), atol=0.05, rtol=0)
    share = torch.sigmoid(torch.tensor(20 * level)).item()
    centered = features - features.mean(1, keepdim=True)
    kept = (centered * (gated - gated.mean(1, keepdim=True))).mean() / centered.square().mean()
    assert kept.item() == pytest.approx(share**0.5, abs=0.02)


def test_the_edge_of_the_gate_is_the_keep_th_highest():
    cosines = torch.tensor([[0.9, -0.9, 0.5, 0.1, -0.5]])
    features = torch.tensor([[[1.0], [-1.0], [3.0], [-3.0], [0.0]]])
    noise = torch.full((1, 5, 1), 1000.0)
    gated = noise_gate(features, cosines, noise, keep=2, sharpness=200.0)
    drowned = (gated - features).abs()[0, :, 0] > 100
    assert drowned.tolist() == [False, True, True, True, True], "the edge itself is half open"
    assert 0 < gated[0, 2, 0] < gated[0, 3, 0]


def test_the_gate_teaches_relevance_what_noise_hurts():
    cosines = relevance()
    features = torch.randn(IMAGES, PATCHES, DIM)
    noise = torch.randn(IMAGES, PATCHES, DIM)
    gated = noise_gate(features, cosines, noise, keep=4)
    (gated[:, 3] - features[:, 3]).square().sum().backward()
    assert bool((cosines.grad[:, 3] < 0).all()), "token 3 should be opened"
    others = torch.arange(PATCHES) != 3
    assert cosines.grad[:, others].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_wholly_open_or_shut_gate_has_a_finite_gradient(dtype):
    cosines = torch.tensor([[1.0, -1.0, 0.0, 0.5, -0.5]], requires_grad=True)
    features = torch.randn(1, 5, 3).to(dtype).requires_grad_()
    gated = noise_gate(features, cosines, torch.randn(1, 5, 3), keep=5, sharpness=60.0)
    assert gated.dtype == dtype
    gated.float().square().sum().backward()
    assert bool(cosines.grad.isfinite().all())
    assert bool(features.grad.isfinite().all())


@pytest.mark.parametrize("keep", [0, PATCHES + 1])
def test_keeping_none_or_too_many_is_refused(keep):
    with pytest.raises(ValueError, match=f"from 1 to {PATCHES}"):
        noise_gate(torch.zeros(1, PATCHES, DIM), torch.zeros(1, PATCHES), torch.zeros(1, PATCHES, DIM), keep=keep)
