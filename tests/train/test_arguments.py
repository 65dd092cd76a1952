"""transformers' settings are known by their names without transformers."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from llava.train.arguments import WITHOUT_EFFECT, read_trainer, trainer_settings
from llava.train.config import TrainConfig
from llava.train.train import training_arguments


def test_the_names_are_those_of_transformers() -> None:
    assert trainer_settings() == {entry.name for entry in fields(TrainingArguments)}


def test_a_name_that_does_not_exist_or_is_not_free_is_refused() -> None:
    assert read_trainer({"max_steps": 3, "bf16": True}, own=("seed",), unread={}) == {"max_steps": 3, "bf16": True}
    for name in ("max_step", "seed"):
        with pytest.raises(ValueError, match=f"trainer: unknown setting '{name}'"):
            read_trainer({"bf16": True, name: 1}, own=("seed",), unread={})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": 5.0}, "learning_rate has no effect here; give trainable: learning_rates"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end has no effect here; the best model is kept in"),
        ({"per_device_eval_batch_size": 4}, "per_device_eval_batch_size has no effect"),
        ({"fp16": True}, "fp16 is not supported; .*bf16: true"),
        ({"fsdp": "full_shard"}, "fsdp is not supported; use DeepSpeed"),
        ({"save_strategy": "best"}, "save_strategy: best has no effect"),
        ({"train_sampling_strategy": "group_by_length"}, "must be random or sequential"),
        ({"max_grad_norm": "1e-1"}, "max_grad_norm must be float, got the text '1e-1'; YAML reads 1.0e-3"),
        ({"bf16": "yes"}, "bf16 must be bool, got the text 'yes'"),
    ],
)
def test_what_nothing_reads_is_refused_with_what_does(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_trainer(settings, own=(), unread=WITHOUT_EFFECT)


def test_yaml_s_no_is_the_library_s_word() -> None:
    settings = {"eval_strategy": False, "save_strategy": False, "logging_strategy": False, "bf16": False}
    read = read_trainer(settings, own=(), unread=WITHOUT_EFFECT)
    assert read == {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no", "bf16": False}


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
