"""Reading heads on whole pages: the losses' weights by loops, and no page that depends on its batch mates."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.data.batch import make_batch
from llava.data.page_truth import LONGEST
from llava.data.print_targets import SLOTS
from llava.pages import NONE
from llava.train.losses.loss import LossSetup, PagesSeen
from llava.train.losses.options import LossOptions
from llava.train.losses.reading import ReadingLoss
from llava.train.reading.reader import line_loss
from tests.losses_helpers import draw_all, page_groups, training_model

DIM = 7


def reading() -> tuple[ReadingLoss, PagesSeen]:
    """The loss, and three pages of which the tower says something at random."""
    module = training_model()
    batch = make_batch(page_groups(module.lavida, 3))
    torch.manual_seed(3)
    pages = SimpleNamespace(
        dual=SimpleNamespace(detail=torch.randn(3, 144, DIM, requires_grad=True), grids=((12, 12),) * 3)
    )
    seen = PagesSeen(batch=batch, pages=pages, lavida=module.lavida)
    return ReadingLoss(LossSetup(options=LossOptions(), vision_dim=DIM, width=5)), seen


def named_by_loops(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    errors = [
        F.cross_entropy(scores, wanted)
        for scores, wanted in zip(logits.flatten(0, -2), classes.flatten(), strict=True)
        if wanted != NONE
    ]
    return torch.stack(errors).mean() if errors else torch.zeros(())


def test_it_is_lines_of_characters_and_two_orders_page_by_page():
    loss, seen = reading()
    total, count = loss(seen)
    truth, detail = seen.truth, seen.pages.dual.detail
    expected = torch.zeros(())
    for page in range(3):
        row = slice(page, page + 1)
        parts = truth.classes[row], truth.places[row], truth.asked[row]
        lines = line_loss(loss.slots(detail[row]), *parts).sum() / (truth.classes[page] != NONE).sum()
        normed = loss.norm(detail[page])
        order = named_by_loops(loss.order(normed).view(144, SLOTS, LONGEST + 1), truth.order[page])
        turn = named_by_loops(loss.turn(normed).view(144, 2, LONGEST + 1), truth.turn[page])
        expected = expected + lines + 0.3 * (order + turn)
    assert (truth.order != NONE).any()
    assert (truth.turn != NONE).any()
    assert int(count) == 3
    assert_close(total, expected)


def test_a_training_step_teaches_the_tower_to_read():
    module = training_model(alignment=0.0, pointing=0.0, grounding=0.0, denoising=0.0)
    batch = make_batch(page_groups(module.lavida, 2))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        value, count = module(batch, draw_all(batch, measured=False))["reading"]
        losses.append(value.item() / int(count))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
