"""What each head passes on, against a slow twin, and the loss in a training step."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.data.batch import make_batch
from llava.data.print_targets import SLOTS
from llava.pages import NONE
from llava.train.losses.speaking import speaking_loss
from tests.losses_helpers import SIZES, draw_all, fresh_model, page_groups, training_model

TOKENS, VOCAB = 7, 11
NAMED = torch.full((TOKENS, SLOTS), NONE)
NAMED[3], NAMED[4, :2], NAMED[6, 1] = torch.tensor([0, 5, 2, 2]), torch.tensor([9, 8]), 1


def test_the_loss_names_what_every_head_writes_by_loops():
    torch.manual_seed(5)
    block = fresh_model().model.blocks[1]
    hidden, vocabulary = torch.randn(TOKENS, SIZES.width), torch.randn(VOCAB, SIZES.width)
    size = SIZES.width // SIZES.heads
    expected = torch.zeros(())
    for head in range(SLOTS):
        rivals = sorted({*NAMED[:, head].tolist()} - {NONE})
        for token in (NAMED[:, head] != NONE).nonzero().flatten().tolist():
            value = block.v_proj.weight[head * size : (head + 1) * size] @ block.attn_norm(hidden[token])
            said = block.attn_out.weight[:, head * size : (head + 1) * size] @ value
            scores = 12.0 * torch.stack([F.cosine_similarity(said, vocabulary[rival], dim=0) for rival in rivals])
            expected = expected - scores.log_softmax(0)[rivals.index(int(NAMED[token, head]))]
    total, count = speaking_loss(block, hidden, NAMED, vocabulary)
    assert_close(total, expected)
    assert int(count) == 7
    assert total.dtype == torch.float32


def test_following_the_gradient_makes_heads_say_what_they_see():
    torch.manual_seed(7)
    block = fresh_model().model.blocks[0]
    hidden, vocabulary = torch.randn(TOKENS, SIZES.width), torch.randn(VOCAB, SIZES.width)
    optimizer = torch.optim.Adam([block.v_proj.weight, block.attn_out.weight], lr=0.01)
    losses = []
    for _ in range(60):
        total, _ = speaking_loss(block, hidden, NAMED, vocabulary)
        losses.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_a_training_step_teaches_the_value_path_of_the_pointing_layers_what_kept_patches_show():
    module = training_model(
        reading=0.0, alignment=0.0, grounding=0.0, pointing=0.0, coordinate=0.0, budget=0.0, speaking=1.0,
        pointing_layers=(1,),
    )  # fmt: skip
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    given = []
    module.losses["speaking"].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    parts = module(batch, draw_all(batch, budget=43, measured=False))
    assert set(parts) == {"denoising", "speaking"}
    total, count = parts["speaking"]
    (seen,) = given
    kept = seen.prefix.selection.kept
    shown = sum(
        int((batch.truths[batch.image_index[row]].names[:SLOTS, kept[row], 0] != NONE).sum())
        for row in range(len(kept))
    )
    assert int(count) == shown > 0
    total.backward()
    blocks = module.lavida.model.blocks
    assert blocks[1].v_proj.weight.grad.abs().sum() > 0
    assert blocks[1].attn_out.weight.grad.abs().sum() > 0
    assert blocks[1].q_proj.weight.grad is None
    assert blocks[2].v_proj.weight.grad is None
    assert module.lavida.model.head_weight.grad.abs().sum() > 0
