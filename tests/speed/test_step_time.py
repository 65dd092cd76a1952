"""Measured training steps: what is timed is a whole step of the stage that a configuration describes."""

import json

import pytest
import torch

from llava.model.builder import load_pretrained_model
from llava.speed.step_time import measure_steps
from llava.train.config import TrainConfig
from scripts.benchmark_training import main
from tests.train_helpers import make_checkpoint, settings, write_config

LORA = {"scope": "shirg_x", "rank": 3, "coord_rank": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_budget_is_measured_beside_its_plan_and_only_what_trains_moves(checkpoint, tmp_path, checkpointing):
    config = TrainConfig.from_dict(settings(checkpoint, tmp_path, gradient_checkpointing=checkpointing, trainable=LORA))
    model = load_pretrained_model(checkpoint)[1]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = measure_steps(model, config, batch_size=3, steps=2, prompt_tokens=7, answer_tokens=5, processes=11)
    assert list(found["rows"]) == ["11", "13", "17", "measures budgets"]
    for row in list(found["rows"].values())[:3]:
        assert row["samples_per_second"] == pytest.approx(3 / row["seconds"])
        assert row["hours"] == pytest.approx(100_000 / (11 * row["samples_per_second"]) / 3600)
        assert row["peak_bytes"] is None
        assert row["planned_bytes"] > 0
    flops = [row["planned_flops"] for row in list(found["rows"].values())[:3]]
    assert flops == sorted(set(flops))
    assert found["trainable"] == sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
    after = model.state_dict()
    frozen = [name for name in before if name in after]
    assert len(frozen) > 20
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = [name for name, tensor in model.named_parameters() if tensor.requires_grad and "lora_B" in name]
    assert moved
    assert all(after[name].any() for name in moved)  # LoRA starts with B at zero


def test_the_script_writes_what_it_measured(checkpoint, tmp_path, capsys):
    config = write_config(tmp_path, settings(checkpoint, tmp_path / "out", trainable=LORA))
    out = tmp_path / "training.json"
    assert main([str(config), "--batch", "1", "2", "--steps", "1", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert [result["batch_size"] for result in record["results"]] == [1, 2]
    assert {"commit", "device", "torch"} <= set(record)
    assert json.loads(capsys.readouterr().out)["out"] == str(out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": {"reading": 1}}, "without losses that need drawn pages"),
        ({"shirg_x": None, "trainable": {"scope": "projector"}, "losses": {}}, "measured with SHIRG-X"),
    ],
)
def test_what_cannot_be_measured_is_refused(checkpoint, tmp_path, capsys, changes, message):
    config = write_config(tmp_path, settings(checkpoint, tmp_path / "out") | changes)
    assert main([str(config), "--out", str(tmp_path / "none.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
    assert main([str(tmp_path / "nowhere.yaml")]) == 2
    assert "there is no file" in capsys.readouterr().err
