"""Characters of answers look at the patches that show them: where each head looks by loops, and what that costs."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.data.batch import make_batch
from llava.data.print_targets import SLOTS
from llava.pages import NONE
from llava.train.losses.looking import log_attention
from llava.train.losses.loss import AnswersSeen, LossSetup
from llava.train.losses.options import LossOptions
from llava.train.losses.pointing import PointingLoss, pointer_targets
from llava.train.model import TrainingModel
from tests.losses_helpers import draw_all, page_groups, text_group, training_model

SCAFFOLD, BUDGET = 9, 97
POINTERS = [
    # The same character by two places, one place only, a blank, one that cannot be pointed at, and a place beyond.
    torch.tensor([[5, 1, 6, 0], [70, 3, NONE, NONE], [NONE] * 4, [8, 2, 8, 2]]),
    torch.tensor([[143, 0, 142, 3]]),
    None,
    torch.zeros(0, 4, dtype=torch.int64),
]


def planted(module: TrainingModel, budget: int = BUDGET, *, prefix_lm: bool = False) -> AnswersSeen:
    """A step on two pages whose answers point where ``POINTERS`` says."""
    module.loss_config = replace(module.loss_config, prefix_lm=prefix_lm)
    groups = [text_group(module.lavida), *page_groups(module.lavida, 2)]
    batch = make_batch(groups)
    pointers = (None, *(each if each is None else each.long() for each in POINTERS))
    batch = replace(batch, pointers=pointers)
    seen = []
    loss = module.losses["pointing"]
    handle = loss.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(batch, draw_all(batch, budget=budget, measured=False))
    handle.remove()
    return seen[0]


def expected_targets(seen: AnswersSeen, row: int, position: int) -> list[int]:
    """The definition, written slowly: where each head of a position looks."""
    found = [NONE] * SLOTS
    copies, batch = seen.copies, seen.batch
    sample = int(copies.samples[row])
    pointers = batch.pointers[sample]
    if copies.labels[row, position] == IGNORE_INDEX or pointers is None:
        return found
    labeled = (copies.labels[row] != IGNORE_INDEX).nonzero().flatten().tolist()
    length = int((batch.labels[sample] != IGNORE_INDEX).sum())
    character = labeled.index(position) % length
    if character >= len(pointers):
        return found
    image = batch.sample_index.index(sample)
    start = batch.prompts[sample].tolist().index(IMAGE_TOKEN_INDEX) + SCAFFOLD
    kept = seen.prefix.selection.kept[image].tolist()
    assignment = seen.prefix.selection.assignment[image].tolist()
    patch, slot, other_patch, other_slot = pointers[character].tolist()
    for where, head in ((other_patch, other_slot), (patch, slot)):
        if where != NONE:
            holder = assignment[where]
            if holder in kept:
                found[head] = start + kept.index(holder)
    return found


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_heads_look_where_their_slot_s_character_stands(prefix_lm):
    module = training_model(grounding=0.0)
    # All patches in one case, so that everything that can be pointed at is.
    for budget in (BUDGET, 144):
        seen = planted(module, budget, prefix_lm=prefix_lm)
        wanted, asking = pointer_targets(seen)
        pointed = 0
        for row in range(wanted.shape[0]):
            for position in range(wanted.shape[1]):
                expected = expected_targets(seen, row, position)
                assert wanted[row, position].tolist() == expected, (row, position)
                masked = bool(seen.copies.masked[row, position])
                assert bool(asking[row, position]) == (masked and any(place != NONE for place in expected))
                pointed += sum(place != NONE for place in expected)
        # Every answer is there twice: seven places in all.
        assert 0 < pointed <= 2 * 7
        if budget == 144:
            assert pointed == 2 * 6, "two slots of the fourth character are one"


def test_the_loss_is_the_attention_of_heads_with_something_to_say_and_of_idle_ones():
    module = training_model(grounding=0.0)
    seen = planted(module, 144)
    value, count = module.losses["pointing"](seen)
    wanted, asking = pointer_targets(seen)
    expected = torch.zeros(())
    for row, position in asking.nonzero().tolist():
        for layer in (0, 2):
            looks = log_attention(seen.inputs[layer], torch.tensor([[position]] * len(wanted)), SLOTS)[row, :, 0]
            named = [head for head in range(SLOTS) if wanted[row, position, head] >= 0]
            found = torch.stack([looks[head, wanted[row, position, head]] for head in named]).logsumexp(0)
            idle = torch.stack([looks[head, 0] for head in range(SLOTS) if head not in named]).mean()
            expected = expected - (found + 0.1 * idle) / 2
    assert int(count) == int(asking.sum()) > 0
    assert_close(value, expected, rtol=1e-5, atol=1e-5)


def test_nothing_to_point_at_costs_nothing():
    module = training_model(grounding=0.0)
    seen = planted(module)
    batch = replace(seen.batch, pointers=(None,) * len(seen.batch.pointers))
    value, count = module.losses["pointing"](replace(seen, pages=replace(seen.pages, batch=batch)))
    assert (value.item(), int(count), value.dtype) == (0.0, 0, torch.float32)


def test_its_gradient_reaches_queries_and_keys_of_its_layers():
    module = training_model(grounding=0.0, pointing_layers=(1,))
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    value, count = module(batch, draw_all(batch, budget=144, measured=False))["pointing"]
    assert int(count) > 0, "some answer is spelled on its page"
    value.backward()
    block = module.lavida.model.blocks[1]
    assert block.q_proj.weight.grad.abs().sum() > 0
    assert block.k_proj.weight.grad.abs().sum() > 0
    assert block.v_proj.weight.grad is None
    assert module.lavida.model.blocks[2].q_proj.weight.grad is None


def test_a_model_with_fewer_heads_than_slots_is_refused():
    module = training_model()
    module.lavida.config.n_heads = SLOTS - 1
    with pytest.raises(ValueError, match=f"pointing needs {SLOTS} heads in the language model, which has {SLOTS - 1}"):
        PointingLoss(LossSetup(options=LossOptions(pointing_layers=(0,)), vision_dim=3, width=5)).check(module.lavida)
