"""transformers' settings are known by their names without transformers."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from llava.train.arguments import check_trainer, trainer_settings
from llava.train.config import TrainConfig
from llava.train.train import training_arguments


def test_the_names_are_those_of_transformers() -> None:
    assert trainer_settings() == {entry.name for entry in fields(TrainingArguments)}


def test_a_name_that_does_not_exist_or_is_not_free_is_refused() -> None:
    check_trainer(["max_steps", "bf16"], own=("seed",))
    for name in ("max_step", "seed"):
        with pytest.raises(ValueError, match=f"trainer: unknown setting '{name}'"):
            check_trainer(["bf16", name], own=("seed",))


class TestTrainingArguments:
    @staticmethod
    def made(out: Path, **trainer: object) -> TrainingArguments:
        values = {"model": "m", "out": str(out), "pages": {}, "trainer": trainer}
        return training_arguments(TrainConfig.from_dict(values))

    def test_without_an_accelerator_settings_for_one_run_on_the_cpu(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
        assert self.made(tmp_path, bf16=True).device.type == "cpu"

    def test_yaml_s_no_is_no(self, tmp_path: Path) -> None:
        assert self.made(tmp_path, eval_strategy=False, use_cpu=True).eval_strategy == "no"
