"""Steps in parts: three batches of two weigh as one of six, each loss by itself, in gradients and in what is logged."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from llava.train.losses.config import LossConfig
from llava.train.losses.registry import LOSSES
from llava.train.trainer import MaskedDiffusionTrainer

WEIGHTS = {name: 0.3 + 0.1 * number for number, name in enumerate(LOSSES)}


class Planted(nn.Module):
    """Each loss is the sum over samples of a known number times a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(len(LOSSES)))

    def forward(self, batch, draws):
        numbers = batch.numbers
        return {
            name: (self.weight[place] * (numbers * (place + 1)).sum(), torch.tensor(len(numbers)))
            for place, name in enumerate(LOSSES)
        }


def trainer(accumulation: int) -> MaskedDiffusionTrainer:
    made = object.__new__(MaskedDiffusionTrainer)
    made.args = SimpleNamespace(device=torch.device("cpu"), gradient_accumulation_steps=accumulation)
    made.accelerator = SimpleNamespace(num_processes=1, reduce=lambda value, reduction: value)
    made.config = SimpleNamespace(losses=LossConfig.from_dict(WEIGHTS))
    made.num_skipped, made._sums = 0, None
    made.draw = lambda batch: SimpleNamespace(budget=None)
    return made


def step(numbers: torch.Tensor, accumulation: int, only: str | None) -> tuple[torch.Tensor, float, dict[str, float]]:
    """Gradients, the loss of the step, and what is logged of its parts."""
    made, model = trainer(accumulation), Planted()
    if only is not None:
        weights = {name: WEIGHTS[name] if name == only else 0.0 for name in LOSSES}
        made.config.losses = SimpleNamespace(weight=weights.__getitem__)
    total = 0.0
    for part in numbers.chunk(accumulation):
        batch = SimpleNamespace(numbers=part, skipped=())
        loss = made.compute_loss(model, {"batch": batch}, num_items_in_batch=torch.tensor(len(numbers)))
        loss.backward()
        total += loss.item()
    shares, happened = made._sums
    return model.weight.grad, total, dict(zip(LOSSES, (shares / happened).tolist(), strict=True))


@pytest.mark.parametrize("only", [None, *LOSSES])
def test_three_batches_of_two_are_one_of_six(only):
    numbers = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0, 13.0])
    whole, parts = step(numbers, 1, only), step(numbers, 3, only)
    torch.testing.assert_close(parts[0], whole[0])
    assert parts[1] == pytest.approx(whole[1])
    assert parts[2] == pytest.approx(whole[2])
    for place, name in enumerate(LOSSES):
        weight = WEIGHTS[name] if only in (None, name) else 0.0
        assert whole[0][place].item() == pytest.approx(weight * (place + 1) * 41 / 6)
        assert whole[2][name] == pytest.approx((place + 1) * 41 / 6)
