"""Runs that start parts of SHIRG-X anew, train some parts alone, or read more of the tower than LaViDa."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava.inference.session import Session
from llava.train.config import TrainConfig
from llava.train.train import prepare_run
from tests.train_helpers import SHIRG, make_checkpoint, settings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


def train(checkpoint: Path, out: Path, **changes: Any) -> Path:
    return prepare_run(TrainConfig.from_dict(settings(checkpoint, out, **changes))).train()


def test_a_fresh_head_learns_other_budgets_and_nothing_else_changes(checkpoint: Path, tmp_path: Path) -> None:
    everything = {"scope": "everything", "learning_rates": {"coordinates": 0.1, "budget_head": 0.1}}
    trained = train(checkpoint, tmp_path / "whole", trainable=everything, losses={"budget_every": 1})
    adapter = train(
        trained,
        tmp_path / "head",
        shirg_x={**SHIRG, "budgets": [5, 19]},
        fresh=["budget_head"],
        trainable={"groups": ["budget_head"]},
        losses={"budget_every": 1, "coordinate": 0},
    )
    before = load_file(trained / "model.safetensors")
    after = load_file(adapter / "shirg_x.safetensors")
    assert before["shirg_x.coordinates.coord_out.weight"].any()
    for name, value in after.items():
        if name.startswith("coordinates"):
            torch.testing.assert_close(value, before[f"shirg_x.{name}"], rtol=0, atol=0)
    assert after["budget_head.out.weight"].shape == (2, before["shirg_x.budget_head.out.weight"].shape[1])
    assert after["budget_head.out.bias"].any()
    assert load_file(adapter / "adapter.safetensors") == {}
    session = Session.load(trained, adapter=adapter)
    assert session.handle is not None
    assert session.handle.config.budgets == (5, 19)
    for name, value in session.model.shirg_x.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=0, atol=0)
    run = prepare_run(TrainConfig.from_dict(settings(trained, tmp_path / "again", fresh=["coordinates"])))
    assert not run.trainer.model.lavida.shirg_x.coordinates.coord_out.weight.any()
    assert run.trainer.model.lavida.shirg_x.budget_head.out.weight.any()


def test_a_similarity_that_reads_more_of_the_tower_than_lavida_finds_it(tiny_checkpoint, tmp_path) -> None:
    values = settings(tiny_checkpoint, tmp_path / "run", shirg_x={**SHIRG, "similarity": "attention"})
    run = prepare_run(TrainConfig.from_dict(values))
    assert run.trainer.model.lavida.get_vision_tower().keep_all_layers


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fresh": ["head"]}, "fresh must list parts of SHIRG-X (coordinates, budget_head, relevance), got"),
        ({"fresh": "budget_head"}, "fresh must list parts"),
        ({"fresh": ["budget_head"], "shirg_x": None}, "fresh belongs to shirg_x, which is not given"),
    ],
    ids=str,
)
def test_only_parts_that_exist_start_fresh(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        TrainConfig.from_dict(settings(checkpoint, tmp_path / "run", **changes))
