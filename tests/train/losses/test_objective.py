"""The training objective: complementary masks, and no sample that depends on its batch mates."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from llava.constants import IGNORE_INDEX
from llava.model.builder import load_pretrained_model
from llava.train.losses.objective import draw_masks, mask_probability, masked_diffusion_loss, two_copies

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


def prefix_lm_by_two_passes(model, ids, labels, masked, probability=None):
    """Each copy alone with a mask that hides the answer from the prompt: (cross-entropy sums, counts) of both."""
    answer = labels != IGNORE_INDEX
    allowed = answer[:, None] | ~answer[None]
    sums, counts = [], []
    for copy, chance in ((masked, probability), (answer & ~masked, None if probability is None else 1 - probability)):
        noisy = ids.masked_fill(copy, model.config.mask_token_id)
        hidden = model.model(model.model.embed_tokens(noisy)[None], allowed[None])[0]
        losses = [F.cross_entropy(model.model.compute_logits(hidden[p]), labels[p]) for p in copy.nonzero().flatten()]
        weight = 1.0 if chance is None else 0.5 / chance
        sums.append(weight * torch.stack(losses).sum() if losses else torch.zeros(()))
        counts.append(len(losses))
    return sums, counts


@pytest.mark.parametrize("reweight", [False, True])
def test_copies_behind_one_prefix_are_two_passes_with_a_prefix_mask(model, reweight):
    samples = [sample(1, 3, 5), sample(2, 7, 11), sample(3, 13, 1)]
    batch = batch_of(model, samples)
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(3))
    probabilities = torch.tensor([0.23, 0.61, 0.97]) if reweight else None
    found = masked_diffusion_loss(model, batch, masked, prefix_lm=True, probabilities=probabilities)
    sums, counts = [], []
    for row, (ids, labels) in enumerate(samples):
        chance = None if probabilities is None else float(probabilities[row])
        alone, number = prefix_lm_by_two_passes(model, ids, labels, masked[row, : len(ids)], chance)
        sums.append(sum(alone))
        counts.append(number)
    assert_close(found.sample_sums, torch.stack(sums), rtol=1e-4, atol=1e-4)
    assert found.num_masked.tolist() == torch.tensor(counts).sum(0).tolist()
    assert_close(found.loss, torch.stack(sums).sum() / sum(map(sum, counts)), rtol=1e-4, atol=1e-4)
    full = masked_diffusion_loss(model, batch, masked, probabilities=probabilities)
    assert not torch.allclose(full.sample_sums, found.sample_sums, rtol=1e-3)


def test_the_answer_is_hidden_from_the_prompt_in_decoding_s_way(model):
    """Hidden states of the first copy are those of a cached prefix and a denoised answer."""
    ids, labels = sample(4, 7, 5)
    batch = model.prepare_inputs(ids[None], labels=labels[None])
    masked = torch.zeros_like(labels[None], dtype=torch.bool)
    masked[0, [8, 11]] = True
    copies = two_copies(model, batch, masked, prefix_lm=True)
    hidden = model.model(copies.embeds, copies.attention_mask, copies.position_ids)
    cache = model.model.prefill(batch.embeds[:, :7], [7], num_answer=7)
    noisy = model.model.embed_tokens(ids.masked_fill(masked[0], model.config.mask_token_id)[None, 7:])
    decoded = model.model.denoise(noisy, cache, model.model.answer_rotary(cache, 7))
    assert_close(hidden[:, 7:14], decoded, rtol=1e-4, atol=1e-4)


def test_reweighting_is_one_over_p_for_a_copy_and_one_over_one_minus_p_for_its_complement(model):
    samples = [sample(5, 3, 5), sample(6, 7, 2)]
    batch = batch_of(model, samples)
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(8))
    probabilities = torch.tensor([0.3, 0.8])
    found = masked_diffusion_loss(model, batch, masked, probabilities=probabilities).sample_sums
    expected = []
    for row, (ids, labels) in enumerate(samples):
        total = torch.zeros(())
        for copy, chance in (
            (masked[row, : len(ids)], probabilities[row]),
            (~masked[row, : len(ids)] & (labels != IGNORE_INDEX), 1 - probabilities[row]),
        ):
            logits = model(ids.masked_fill(copy, model.config.mask_token_id)[None]).logits[0]
            for place in copy.nonzero().flatten():
                total = total + F.cross_entropy(logits[place], labels[place]) / chance / 2
        expected.append(total)
    assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_time_masks_with_a_probability_that_is_never_zero():
    assert_close(mask_probability(torch.tensor([0.0, 0.2, 1.0])), torch.tensor([0.001, 0.2008, 1.0]))


@pytest.mark.parametrize("behind", [6, 9])
def test_text_behind_one_answer_is_refused_with_a_hidden_answer(model, behind):
    ids, labels = sample(7, 3, 5)
    ids[behind], labels[behind] = 3, IGNORE_INDEX
    batch = batch_of(model, [sample(1, 7, 11), (ids, labels), sample(2, 2, 1)])
    assert batch.lengths == (20, 10, 5)
    masked = torch.zeros_like(batch.labels, dtype=torch.bool)
    masked_diffusion_loss(model, batch, masked)
    with pytest.raises(ValueError, match="prefix_lm needs the labeled answer at the end"):
        masked_diffusion_loss(model, batch, masked, prefix_lm=True)


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_a_sample_without_an_answer_costs_nothing_beside_others(model, prefix_lm):
    ids, labels = sample(3, 13, 1)
    answered = sample(1, 3, 5)
    batch = batch_of(model, [(ids, torch.full_like(labels, IGNORE_INDEX)), answered])
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(3))
    found = masked_diffusion_loss(model, batch, masked, prefix_lm=prefix_lm)
    alone = masked_diffusion_loss(model, batch_of(model, [answered]), masked[1:, :10], prefix_lm=prefix_lm)
    assert_close(found.sample_sums, torch.cat([torch.zeros(1), alone.sample_sums]), rtol=1e-5, atol=1e-5)
    assert_close(found.loss, alone.loss, rtol=1e-5, atol=1e-5)


class LargestLogits(TorchDispatchMode):
    """Notes the most elements that any tensor made inside had with the vocabulary as its last axis."""

    def __init__(self, model):
        super().__init__()
        self.vocab = model.config.vocab_size
        self.weights = {parameter.data_ptr() for parameter in model.parameters()}
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.shape[-1:] == (self.vocab,) and out.data_ptr() not in self.weights:
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize(("prefix_lm", "positions"), [(False, 2 * (97 + 7)), (True, 97 + 2 * 7)])
def test_logits_exist_for_masked_positions_only(model, prefix_lm, positions):
    """Logits of every position are what exhausts memory: 7 masked ones of 208, or of 111 behind one prefix."""
    batch = batch_of(model, [sample(8, 97, 5)])
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(1))
    with LargestLogits(model) as gathered:
        masked_diffusion_loss(model, batch, masked, prefix_lm=prefix_lm)
    assert gathered.elements == 7 * model.config.vocab_size
    copies = two_copies(model, batch, masked, prefix_lm=prefix_lm)
    with LargestLogits(model) as full:
        model.model.compute_logits(model.model(copies.embeds, copies.attention_mask, copies.position_ids))
    assert full.elements == positions * model.config.vocab_size
