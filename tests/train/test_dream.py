"""Training around a language model that reads each token from the position before it."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from lavida_shirg_integration import apply_shirg_x
from llava.constants import IGNORE_INDEX
from llava.model.builder import load_pretrained_model
from llava.train.config import TrainConfig
from llava.train.losses.config import LossConfig
from llava.train.losses.objective import draw_masks, masked_diffusion_loss, two_copies
from llava.train.model import TrainingModel
from llava.train.train import prepare_run
from llava.tuning.adapter import load_adapter
from tests.cli_helpers import copy_checkpoint
from tests.integration_helpers import SMALL
from tests.train.losses.test_objective import batch_of, sample
from tests.train_helpers import logged, settings


@pytest.fixture(scope="module")
def model(dream_loaded):
    return dream_loaded[1]


def cross_entropy_by_hand(model, ids, labels, copy):
    """The sum over a copy's masked tokens, hidden from the prompt; scores of a token are those of the one before."""
    answer = labels != IGNORE_INDEX
    allowed = answer[:, None] | ~answer[None]
    noisy = ids.masked_fill(copy, model.config.mask_token_id)
    hidden = model.model(model.model.embed_tokens(noisy)[None], allowed[None])[0]
    scores = model.model.compute_logits(hidden).log_softmax(-1)
    return -sum(scores[place - 1, labels[place]] for place in copy.nonzero().flatten().tolist())


def test_copies_behind_one_prefix_are_read_from_the_position_before(model):
    """Where an answer begins, that is the last position of its prompt, for both copies."""
    samples = [sample(1, 3, 5), sample(2, 7, 11), sample(3, 13, 2)]
    batch = batch_of(model, samples)
    masked = draw_masks(batch.labels, torch.Generator().manual_seed(3))
    found = masked_diffusion_loss(model, batch, masked, prefix_lm=True)
    sums = []
    for row, (ids, labels) in enumerate(samples):
        first = masked[row, : len(ids)]
        copies = (first, (labels != IGNORE_INDEX) & ~first)
        sums.append(sum(cross_entropy_by_hand(model, ids, labels, copy) for copy in copies))
    assert_close(found.sample_sums, torch.stack(sums), rtol=1e-4, atol=1e-4)
    copies = two_copies(model, batch, masked, prefix_lm=True)
    begins = [len(ids) - int((labels != IGNORE_INDEX).sum()) for ids, labels in samples]
    for row, begin in enumerate(begins):
        starts = copies.sources[row, [max(begins), max(begins) + 13]]
        assert starts.tolist() == [begin - 1, begin - 1]


def test_what_asks_is_what_is_read(model):
    ids, labels = sample(4, 7, 5)
    batch = model.prepare_inputs(ids[None], labels=labels[None])
    masked = torch.zeros_like(labels[None], dtype=torch.bool)
    masked[0, [7, 9]] = True
    copies = two_copies(model, batch, masked)
    assert copies.asking[0].nonzero()[:, 0].tolist() == [6, 8]
    assert copies.asking[1].nonzero()[:, 0].tolist() == [7, 9, 10, 11, 12]


def test_padding_changes_no_loss(model):
    samples = [sample(5, 3, 5), sample(6, 11, 3)]
    together = batch_of(model, samples)
    masked = draw_masks(together.labels, torch.Generator().manual_seed(1))
    sums = masked_diffusion_loss(model, together, masked).sample_sums
    for row, (ids, _) in enumerate(samples):
        alone = batch_of(model, samples[row : row + 1])
        found = masked_diffusion_loss(model, alone, masked[row : row + 1, : len(ids)])
        assert_close(found.sample_sums[0], sums[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", ["pointing", "grounding"])
def test_losses_on_a_token_s_own_position_are_refused(tiny_dream_checkpoint: Path, loss: str):
    lavida = load_pretrained_model(tiny_dream_checkpoint, device_map="cpu")[1]
    with apply_shirg_x(lavida, SMALL) as handle:
        config = LossConfig(weights={loss: 1.0, "reading": 0.0})
        with pytest.raises(ValueError, match=f"{loss} teaches tokens to be read from their own positions"):
            TrainingModel(lavida, handle, config, drawn=True)


def test_a_run_trains_an_adapter_that_loads(tiny_dream_checkpoint: Path, tmp_path: Path):
    checkpoint = copy_checkpoint(tiny_dream_checkpoint, tmp_path / "all")
    values = settings(
        checkpoint,
        tmp_path / "run",
        shirg_x={"grid": 12, "budgets": [11, 13, 17], "similarity": "learned"},
        trainable={"scope": "shirg_x_expanded", "rank": 3, "coord_rank": 2},
        losses={
            "budget_every": 2,
            "relevance": 0.1,
            "relevance_teacher": "attention",
            "pointing_layers": [1, 2],
            "pointing": 0,
            "grounding": 0,
        },
        trainer={"max_steps": 2, "per_device_train_batch_size": 2},
    )
    final = prepare_run(TrainConfig.from_dict(values)).train()
    losses = [entry["loss"] for entry in logged(tmp_path / "run")]
    assert len(losses) == 2
    assert all(0 < loss < 20 for loss in losses)
    tokenizer, model, _, _ = load_pretrained_model(checkpoint, device_map="cpu")
    before = model(torch.tensor([[5, 9, 31]])).logits
    assert load_adapter(model, tmp_path / "run" / "final", merge=True, tokenizer=tokenizer) is not None
    assert not torch.equal(model(torch.tensor([[5, 9, 31]])).logits, before)
    assert final is None or Path(final).exists()
