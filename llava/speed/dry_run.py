"""What a configured run will take, told before any weight is read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from llava.data.joined import weigh
from llava.model.language_model.lavida_config import LavidaConfig
from llava.speed.plan import PlannedRun, TrainingPlan, plan_training
from llava.train.config import TrainConfig
from llava.train.datasets import read_records


def plan_run(
    config: TrainConfig,
    model_config: LavidaConfig,
    *,
    processes: int = 8,
    samples: int | None = None,
    samples_per_second: float | None = None,
) -> TrainingPlan:
    """The plan of a configuration's run; the model's weights are not needed, and its data only to be counted.

    Args:
        samples: records of the data, where they are not at hand.
        samples_per_second: measured, of all processes together.

    Raises:
        FileNotFoundError, ValueError: if the data cannot be read to be counted, or the settings do not fit the model.
    """
    trainer = config.trainer
    batch = trainer.get("per_device_train_batch_size", 8)
    accumulation = trainer.get("gradient_accumulation_steps", 1)
    questions = config.pages.questions if config.pages is not None else 1
    epochs = math.ceil(trainer.get("num_train_epochs", 3))
    if trainer.get("max_steps", -1) > 0:
        samples, epochs = trainer["max_steps"] * processes * batch * accumulation, 1
    elif samples is None:
        samples = config.pages.pages if config.pages is not None else _count(config)
    losses, shirg = config.losses, config.shirg_x
    if shirg is not None:
        shirg = shirg.replace(budgets=sorted(config.drawn_budgets), budget="auto")
    return plan_training(
        model_config,
        config.trainable,
        shirg,
        PlannedRun(
            samples=samples * questions,
            epochs=epochs,
            processes=processes,
            batch=batch * questions,
            accumulation=accumulation,
            zero_stage=zero_stage(trainer),
            gradient_checkpointing=config.gradient_checkpointing,
            answer_tokens=config.answer_block,
            budget_every=losses.budget_every if losses.weight("budget") and losses.budget_teacher == "losses" else 0,
            budget_draws=losses.budget_draws,
            teacher=_teacher(config),
            looked_at_layers=len(losses.pointing_layers),
            samples_per_second=samples_per_second,
        ),
    )


def _count(config: TrainConfig) -> int:
    """Answers of an epoch."""
    return sum(weigh(read_records(config), config.weights, seed=config.seed).num_answers)


def _teacher(config: TrainConfig) -> Literal["attention", "gate"] | None:
    """What takes passes of its own to teach the relevance; whether ``auto`` is learned, only a checkpoint knows."""
    losses, shirg = config.losses, config.shirg_x
    if shirg is None or shirg.source.weights is None or not (losses.denoising and losses.weight("relevance")):
        return None
    return {"attention": "attention", "gate": "gate"}.get(losses.relevance_teacher)  # type: ignore[return-value]


def zero_stage(trainer: Mapping[str, Any]) -> int:
    """DeepSpeed's stage that the trainer's settings ask for; 0 without DeepSpeed.

    Raises:
        FileNotFoundError, ValueError: if DeepSpeed's configuration is missing or is no JSON.
    """
    chosen = trainer.get("deepspeed")
    if chosen is None:
        return 0
    if not isinstance(chosen, Mapping):
        if not Path(chosen).is_file():
            raise FileNotFoundError(f"there is no DeepSpeed configuration at {chosen}")
        try:
            chosen = json.loads(Path(chosen).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{chosen} is not valid JSON: {error}") from error
    return int(chosen.get("zero_optimization", {}).get("stage", 0))
