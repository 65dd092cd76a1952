"""The training objective: complementary masks, and no sample that depends on its batch mates."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.model.builder import load_pretrained_model
from llava.train.objective import draw_masks, masked_diffusion_loss

PAD = 510


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    return load_pretrained_model(tiny_checkpoint, device_map="cpu", torch_dtype="float32")[1]


def sample(seed: int, prompt: int, answer: int, end: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of one sample whose answer ends in labeled end-of-text."""
    ids = torch.randint(0, 490, (prompt + answer + end,), generator=torch.Generator().manual_seed(seed))
    ids[prompt + answer :] = PAD
    labels = ids.clone()
    labels[:prompt] = IGNORE_INDEX
    return ids, labels


def batch_of(model, samples):
    ids, labels = zip(*samples, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    return model.prepare_inputs(
        pad(ids, batch_first=True, padding_value=PAD),
        labels=pad(labels, batch_first=True, padding_value=IGNORE_INDEX),
    )


def test_labeled_end_of_text_belongs_to_the_answer_and_padding_does_not(model):
    batch = batch_of(model, [sample(1, 3, 5), sample(2, 7, 11)])
    assert batch.lengths == (10, 20)
    assert (batch.labels != IGNORE_INDEX).sum(1).tolist() == [7, 13]


def test_the_loss_of_a_batch_is_that_of_its_samples_alone(model):
    samples = [sample(1, 3, 5), sample(2, 7, 11)]
    batch = batch_of(model, samples)
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(3))
    together = masked_diffusion_loss(model, batch, masked)
    total, tokens = 0.0, 0
    for row, (ids, labels) in enumerate(samples):
        single = model.prepare_inputs(ids[None], labels=labels[None])
        alone = masked_diffusion_loss(model, single, masked[row : row + 1, : len(ids)])
        count = int(alone.num_masked.sum())
        total, tokens = total + alone.loss.item() * count, tokens + count
    assert together.loss.item() == pytest.approx(total / tokens, rel=1e-5)


def test_the_two_copies_together_mask_every_answer_token_once(model):
    batch = batch_of(model, [sample(4, 3, 5), sample(5, 2, 13)])
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(6))
    result = masked_diffusion_loss(model, batch, masked)
    assert result.num_masked.sum() == (batch.labels != IGNORE_INDEX).sum()
    assert not masked[batch.labels == IGNORE_INDEX].any()


def test_it_is_the_plain_definition(model):
    ids, labels = sample(7, 3, 5)
    batch = model.prepare_inputs(ids[None], labels=labels[None])
    masked = torch.tensor([[False] * 4 + [True, False, True, False, True, False]])
    losses = []
    for copy in (masked, ~masked & (labels != IGNORE_INDEX)):
        noisy = ids.clone()
        noisy[copy[0]] = model.config.mask_token_id
        logits = model(noisy[None]).logits[0]
        losses += [F.cross_entropy(logits[place], labels[place]) for place in copy[0].nonzero().flatten()]
    assert_close(masked_diffusion_loss(model, batch, masked).loss, torch.stack(losses).mean(), atol=1e-5, rtol=0)


def test_the_head_sees_masked_positions_only(model, monkeypatch):
    seen = []
    head = model.model.compute_logits
    monkeypatch.setattr(model.model, "compute_logits", lambda hidden: (seen.append(hidden.shape), head(hidden))[1])
    batch = batch_of(model, [sample(8, 31, 5)])
    masked_diffusion_loss(model, batch, draw_masks(batch.labels, torch.Generator().manual_seed(1)))
    assert seen == [(7, 64)]


def test_masks_cover_a_uniform_share_on_average():
    labels = torch.zeros(4000, 50, dtype=torch.long)
    shares = draw_masks(labels, torch.Generator().manual_seed(2)).float().mean(1)
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.std().item() == pytest.approx((1 / 12 + 1 / 300) ** 0.5, abs=0.02)


def test_nothing_to_learn_from_is_an_error(model):
    batch = model.prepare_inputs(torch.tensor([[3, 5]]), labels=torch.tensor([[IGNORE_INDEX, IGNORE_INDEX]]))
    with pytest.raises(ValueError, match="label the answer"):
        masked_diffusion_loss(model, batch, torch.zeros(1, 2, dtype=torch.bool))
