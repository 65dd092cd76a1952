"""transformers' settings are known by their names without transformers."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from llava.train.arguments import check_trainer, trainer_settings


def test_the_names_are_those_of_transformers() -> None:
    assert trainer_settings() == {entry.name for entry in fields(TrainingArguments)}


def test_a_name_that_does_not_exist_or_is_not_free_is_refused() -> None:
    check_trainer(["max_steps", "bf16"], own=("seed",))
    for name in ("max_step", "seed"):
        with pytest.raises(ValueError, match=f"trainer: unknown setting '{name}'"):
            check_trainer(["bf16", name], own=("seed",))
