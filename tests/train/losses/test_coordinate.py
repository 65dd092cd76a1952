"""The probe reads boxes, and its gradient reaches what tells the model about place."""

import torch
from torch.testing import assert_close

from lavida_shirg_integration import CoordinateEmbedding
from llava.train.losses.coordinate import CoordinateProbe

TOKENS, WIDTH = 17, 11


def test_errors_are_means_over_the_four_numbers_of_a_box():
    probe = CoordinateProbe(WIDTH)
    tokens, boxes = torch.randn(TOKENS, WIDTH), torch.rand(TOKENS, 4)
    found = probe(tokens.bfloat16(), boxes)
    rounded = tokens.bfloat16().float()
    normed = (rounded - rounded.mean(1, keepdim=True)) / (rounded.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    read = normed @ probe.out.weight.T + probe.out.bias
    assert found.dtype == torch.float32
    assert_close(found, (read - boxes).square().mean(1))


def test_it_learns_boxes_through_the_coordinate_embedding():
    torch.manual_seed(7)
    embedding, probe = CoordinateEmbedding(WIDTH, 13), CoordinateProbe(WIDTH)
    features, boxes = 0.1 * torch.randn(TOKENS, WIDTH), torch.rand(TOKENS, 4)
    optimizer = torch.optim.Adam([*embedding.parameters(), *probe.parameters()], lr=0.02)
    losses = []
    for _ in range(150):
        loss = probe(features + embedding(boxes[None])[0], boxes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in embedding.parameters())
