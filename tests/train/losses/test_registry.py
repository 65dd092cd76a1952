"""Losses by name: an entry is all that another one takes."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from llava.train import trainer as trainer_module
from llava.train.config import TrainConfig
from llava.train.losses import config as config_module
from llava.train.losses import registry
from llava.train.losses.config import LossConfig
from llava.train.losses.loss import AnswersLoss, AnswersSeen, LossSetup, PagesLoss, PagesSeen, Part
from llava.train.losses.registry import LOSSES, LossEntry
from llava.train.train import prepare_run
from tests.train_helpers import logged, make_checkpoint, settings


def test_names_and_weights_are_those_that_settings_files_rely_on() -> None:
    weights = {name: entry.weight for name, entry in LOSSES.items() if entry.weight}
    assert weights == {"denoising": 1.0, "coordinate": 0.1, "relevance": 0.1, "budget": 0.1}
    assert [*LOSSES] == [
        "denoising", "reading", "alignment", "labeling", "words", "gathering", "pointing", "grounding", "speaking",
        "coordinate", "relevance", "budget",
    ]  # fmt: skip
    assert LossConfig().active == (*weights,)
    assert {name: LossConfig().weight(name) for name in weights} == weights


def test_every_entry_makes_a_loss_of_one_moment() -> None:
    for name, entry in LOSSES.items():
        if entry.make is None:
            assert name in ("denoising", "relevance", "budget")
            continue
        kind = entry.make.resolve()  # type: ignore[attr-defined]
        assert issubclass(kind, PagesLoss) != issubclass(kind, AnswersLoss)
        assert not entry.looks or issubclass(kind, AnswersLoss)


def test_weights_are_changed_by_their_names_and_others_keep_theirs() -> None:
    config = LossConfig.from_dict({"pointing": 0.5, "budget": 0, "pointing_layers": [0]})
    assert config.active == ("denoising", "pointing", "coordinate", "relevance")
    assert config.page_losses == ("pointing",)
    assert config.looks
    assert LossConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown setting 'pionting'; did you mean 'pointing'"):
        LossConfig.from_dict({"pionting": 1})
    for wrong in (-1, float("inf"), float("nan"), True, "1"):
        with pytest.raises(ValueError, match="reading must be a finite number of at least 0"):
            LossConfig.from_dict({"reading": wrong})


class Planted(PagesLoss):
    """A known number, and a parameter that moves by it."""

    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.pull = nn.Parameter(torch.tensor(3.0))
        self.vision_dim = setup.vision_dim

    def forward(self, seen: PagesSeen) -> Part:
        pages = len(seen.batch.truths)
        return 7.0 * pages * self.pull / self.pull.detach(), torch.tensor(pages)


class PlantedAnswers(AnswersLoss):
    def __init__(self, setup: LossSetup) -> None:
        super().__init__()
        self.width = setup.width

    def forward(self, seen: AnswersSeen) -> Part:
        return seen.copies.embeds.float().sum() * 0 + 22.0, torch.tensor(2)


@pytest.fixture
def _planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = MappingProxyType(
        {
            **LOSSES,
            "planted": LossEntry(make=Planted, needs_pages=True),
            "planted_answers": LossEntry(weight=0.5, make=PlantedAnswers),
        }
    )
    from llava.train import model as model_module

    for module in (registry, config_module, trainer_module, model_module):
        if hasattr(module, "LOSSES"):
            monkeypatch.setattr(module, "LOSSES", entries)
    return


@pytest.mark.usefixtures("_planted")
def test_a_loss_that_is_added_by_one_entry_is_trained_and_logged(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    losses: dict[str, Any] = {"planted": 2.0, "budget": 0, "coordinate": 0}
    config = settings(checkpoint, tmp_path / "run", losses=losses, trainer={"max_steps": 2})
    run = prepare_run(TrainConfig.from_dict(config))
    (pull,) = (value for name, value in run.trainer.model.named_parameters() if name.endswith("planted.pull"))
    before = pull.item()
    run.train()
    assert pull.item() < before
    for entry in logged(tmp_path / "run"):
        assert entry["loss_planted"] == pytest.approx(7)
        assert entry["loss_planted_answers"] == pytest.approx(11)
        assert entry["loss"] == pytest.approx(entry["loss_denoising"] + 2.0 * 7 + 0.5 * 11, abs=2e-3)
