"""A training run from its configuration: load, apply SHIRG-X, choose what trains, train, and write what users load."""

import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import TrainingArguments
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from lavida_shirg_integration import ShirgXHandle, apply_shirg_x
from llava.data.conversations import ConversationDataset
from llava.data.page_data import PageDataset
from llava.inference.checkpoint import vision_kwargs
from llava.inference.decoding import DECODING
from llava.model.builder import Loaded, load_pretrained_model
from llava.train.config import TrainConfig
from llava.train.datasets import look_at_data, make_dataset, make_held_out
from llava.train.earlier import find_checkpoint, remember_start
from llava.train.export import Export
from llava.train.idle import idle_settings
from llava.train.losses.registry import LOSSES
from llava.train.model import TrainingModel
from llava.train.stability import StabilityCallback
from llava.train.trainer import MaskedDiffusionTrainer
from llava.train.validation import Validation
from llava.tuning.parameters import TrainableReport, checkpoint_activations, prepare_trainable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a run needs, built and checked, before its first step."""

    config: TrainConfig
    trainer: MaskedDiffusionTrainer
    report: TrainableReport
    checkpoint: str | None
    """Where it resumes from."""

    def train(self) -> Path:
        """Train to the end and write ``final``; gives its directory."""
        result = self.trainer.train(resume_from_checkpoint=self.checkpoint)
        self.trainer.write_model("final", {"step": self.trainer.state.global_step, **result.metrics})
        return Path(self.config.out) / "final"


def prepare_run(config: TrainConfig, *, resume: bool = False) -> Run:
    """Build a run; whatever is wrong with its settings, data or checkpoint is found here.

    Args:
        resume: go on from the last whole checkpoint in ``config.out``, or start if there is none.

    Raises:
        FileNotFoundError, ValueError: naming what is missing or wrong, and the mend.
    """
    checkpoint = find_checkpoint(config, resume=resume)
    args = training_arguments(config)
    _check_engine(config, args)
    _check_masters(_known_dtypes(config), args)
    looked_at = look_at_data(config)
    with _whole_weights(args):
        loaded, handle = _load(config)
    _, model, _, _ = loaded
    report = prepare_trainable(model, config.trainable)
    _check_masters({parameter.dtype for parameter in model.parameters() if parameter.requires_grad}, args)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    module = TrainingModel(model, handle, config.losses, drawn=config.pages is not None)
    dataset = make_dataset(config, loaded, handle, looked_at)
    _check_enough(dataset, args)
    trainer = MaskedDiffusionTrainer(
        module,
        args,
        config,
        dataset,
        export=Export(config=config, lavida=model, tokenizer=loaded[0]),
        validation=_validation(config, loaded, make_held_out(config, loaded, handle, looked_at)),
    )
    trainer.add_callback(StabilityCallback(uses_lora=config.trainable.uses_lora, rank=config.trainable.rank))
    logger.info(
        "%d of %d parameters train (%.3f %%): %s",
        *(report.trainable, report.total, 100 * report.share),
        ", ".join(f"{group} {count}" for group, count in report.groups.items()),
    )
    for sentence in idle_settings(config, report.groups):
        logger.warning("%s", sentence)
    remember_start(config, args, dataset, resumed=checkpoint is not None)
    return Run(config=config, trainer=trainer, report=report, checkpoint=checkpoint)


class _Arguments(TrainingArguments):
    """transformers' own, but a process on CPUs is on "cpu": torch 2.11 cannot load a state to "cpu:0"."""

    @property
    def device(self) -> torch.device:
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device


def training_arguments(config: TrainConfig) -> TrainingArguments:
    """transformers' arguments, with the project's own choices where the configuration has none.

    Raises:
        ValueError: if transformers refuses one.
    """
    validates = config.validation is not None or config.held_out > 0
    if validates and config.trainer.get("eval_strategy", "no") == "no":
        logger.warning(
            "%s: its questions are never asked; set trainer: eval_strategy: steps, with eval_steps",
            "held_out" if config.validation is None else "validation",
        )
    settings: dict[str, Any] = {
        "use_cpu": not torch.accelerator.is_available(),  # bf16 on CPUs is refused unless somebody asks for them
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine",
        "dataloader_drop_last": True,
        "accelerator_config": {"even_batches": False, "split_batches": False, "use_seedable_sampler": True},
        "save_total_limit": 2,
        **({} if validates else {"eval_strategy": "no"}),
        **config.trainer,
    }
    if settings.get("eval_strategy", "no") != "no" and not validates:
        raise ValueError("trainer: eval_strategy needs validation or held_out; add one, or set it to no")
    try:
        return _Arguments(output_dir=config.out, seed=config.seed, data_seed=config.seed, **settings)
    except (ValueError, TypeError, ImportError) as error:
        raise ValueError(f"trainer: {error}") from error


def _check_engine(config: TrainConfig, args: TrainingArguments) -> None:
    engine = getattr(args, "hf_deepspeed_config", None)
    if engine is not None and config.trainable.muon:
        raise ValueError(
            "trainable: muon moves whole matrices, which DeepSpeed cuts into pieces; leave one of them out"
        )
    for name in ("optimizer", "scheduler"):
        if engine is not None and engine.get_value(name) is not None:
            raise ValueError(
                f"trainer: deepspeed: its {name} would take the place of trainable: learning_rates and of trainer: "
                f"lr_scheduler_type without a word; take the section {name} out of {config.trainer['deepspeed']}"
            )
    if engine is None or not engine.is_zero3():
        return
    for name in config.losses.active:
        if LOSSES[name].reads_head:
            raise ValueError(
                f"losses: {name} reads the language model's head directly, which ZeRO-3 spreads over processes; use "
                "configs/deepspeed/zero2.json, or leave it out"
            )


def _known_dtypes(config: TrainConfig) -> set[torch.dtype]:
    """Of what trains, as far as the settings tell."""
    chosen = config.trainable.trainable_dtype or config.dtype
    return set() if chosen == "auto" else {getattr(torch, chosen)}


def _check_masters(trained: Set[torch.dtype], args: TrainingArguments) -> None:
    """Refuse to train weights of few digits without copies of many: most updates would round to nothing."""
    engine = getattr(args, "hf_deepspeed_config", None)
    if engine is not None and (args.bf16 or engine.get_value("zero_optimization.stage", 0)):
        return  # the engine keeps such copies
    low = sorted(str(dtype).removeprefix("torch.") for dtype in trained if dtype in (torch.bfloat16, torch.float16))
    if low:
        raise ValueError(
            f"trainable: {low[0]} weights without float32 copies lose updates to rounding; set trainable_dtype: "
            "float32, with which bf16: true computes in bfloat16 where that is safe, or give trainer: deepspeed"
        )


def _load(config: TrainConfig) -> tuple[Loaded, ShirgXHandle | None]:
    dtype = None if config.dtype == "auto" else config.dtype
    loaded = load_pretrained_model(
        config.model, device_map="cpu", torch_dtype=dtype, vision_kwargs=vision_kwargs(config.shirg_x)
    )
    tokenizer, model = loaded[0], loaded[1]
    # New weights are drawn from the global generator.
    torch.manual_seed(config.seed)
    if config.shirg_x is None:
        return loaded, None
    # Training draws its budgets; validation with auto asks the head, as users of the result do.
    return loaded, apply_shirg_x(model, config.shirg_x.replace(budget="auto"), fresh=config.fresh, tokenizer=tokenizer)


@contextmanager
def _whole_weights(args: TrainingArguments) -> Iterator[None]:
    """Inside, a model is built with all its weights, also where ZeRO-3 will spread them: LoRA and SHIRG-X are put on
    whole layers, and the engine spreads everything when it starts."""
    config = getattr(args, "hf_deepspeed_config", None)
    if config is None:
        yield
        return
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(config)


def _check_enough(dataset: Dataset, args: TrainingArguments) -> None:
    """Refuse data that make no whole step, which the trainer would end on without having learned anything."""
    available, wanted = len(dataset), args.per_device_train_batch_size * args.world_size  # type: ignore[arg-type]
    if available < wanted:
        raise ValueError(
            f"the data have {available} samples, but a step takes {wanted}; lower trainer.per_device_train_batch_size "
            "or give more data"
        )


def _validation(config: TrainConfig, loaded: Loaded, held_out: ConversationDataset | None) -> Validation | None:
    if config.validation is None and held_out is None:
        return None
    tokenizer, model, image_processor, _ = loaded
    pages = None
    if config.validation is not None:
        pages = PageDataset(
            config.validation,
            tokenizer,
            image_processor,
            model.config,
            answer_block=config.answer_block,
            spelled=config.answers == "spelled",
        )
    budgets = config.validation_budgets if config.shirg_x is not None else ("auto",)
    return Validation(
        pages=pages,
        held_out=held_out,
        tokenizer=tokenizer,
        # As long as the longest answers that training shows.
        decoding=replace(DECODING, max_new_tokens=config.answer_block * (1 + config.max_extra_blocks)),
        budgets=tuple(None if budget == "auto" else budget for budget in budgets),
    )
