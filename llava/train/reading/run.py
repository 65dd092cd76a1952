"""A run that teaches a tower to read: transformers' trainer around ``CropReader``."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llava.data.crops import CropDataset, stack
from llava.files import replacing_directory
from llava.metrics.reading import Reading
from llava.model.builder import load_pretrained_model
from llava.pages.faces import held_out_faces, training_faces
from llava.train.earlier import find_checkpoint, remember_start
from llava.train.guarded import GuardedTrainer
from llava.train.muon import Muon
from llava.train.reading.config import ReadingConfig
from llava.train.reading.probe import ReadingProbe
from llava.train.reading.reader import CropReader

logger = logging.getLogger("llava")

HEADS_FILE = "reading_heads.safetensors"
CURVE_FILE = "curve.jsonl"


def run_reading(config: ReadingConfig, *, resume: bool = False) -> Path:
    """Train, and write ``final``: the checkpoint with the tower that reads, and its heads beside it.

    Args:
        resume: go on from the last checkpoint in ``config.out``, if there is one.

    Raises:
        FileNotFoundError, ValueError: if the checkpoint, the fonts or a setting is missing or wrong.
    """
    out = Path(config.out)
    found = find_checkpoint(config, resume=resume)
    torch.manual_seed(config.seed)
    tokenizer, model, _, _ = load_pretrained_model(config.model, device_map="cpu", torch_dtype="float32")
    tower = model.get_vision_tower()
    reader = CropReader(tower, config.layers, config.grid, exact=config.exact)
    folders = tuple(map(Path, config.crops.fonts))
    probe = ReadingProbe(
        training_faces(folders), held_out_faces(folders), cells=config.crops.cells, patch=tower.patch_size
    )
    dataset = CropDataset(config.crops, patch=tower.patch_size, grid=config.grid)
    args = _arguments(config)
    trainer = _ReadingTrainer(reader, args, config, dataset, probe)
    remember_start(config, args, dataset, resumed=found is not None)
    trainer.train(resume_from_checkpoint=found)
    final = out / "final"
    trainer.check_finite()
    with trainer.keeps_last_checkpoint("final"):
        if args.should_save:
            with replacing_directory(final) as fresh:
                model.save_pretrained(fresh)
                tokenizer.save_pretrained(fresh)
                heads = {name: tensor.detach().contiguous() for name, tensor in reader.heads.state_dict().items()}
                save_file(heads, fresh / HEADS_FILE)
    return final


def load_heads(reader: CropReader, directory: Path) -> None:
    """Read the heads that a run wrote beside its tower."""
    reader.heads.load_state_dict(load_file(directory / HEADS_FILE))


def _arguments(config: ReadingConfig) -> TrainingArguments:
    settings: dict[str, Any] = {
        "use_cpu": not torch.accelerator.is_available(),  # bf16 on CPUs is refused unless somebody asks for them
        "per_device_train_batch_size": 16,
        "remove_unused_columns": False,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 60,
        "logging_steps": 25,
        "save_steps": 500,
        "save_total_limit": 2,
        "dataloader_num_workers": 1,
        "dataloader_drop_last": True,
        **config.trainer,
        "num_train_epochs": 1,
    }
    try:
        return TrainingArguments(output_dir=config.out, seed=config.seed, **settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"trainer: {error}") from error


class _ReadingTrainer(GuardedTrainer):
    """Crops in their order, since the ramp is one of order; Muon on hidden matrices."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        reader: CropReader,
        args: TrainingArguments,
        config: ReadingConfig,
        dataset: CropDataset,
        probe: ReadingProbe,
    ) -> None:
        super().__init__(
            model=reader,
            args=args,
            train_dataset=dataset,
            data_collator=stack,
            max_bad_steps=config.max_bad_steps,
        )
        self.config = config
        self.add_callback(_Probing(reader, probe, Path(config.out) / CURVE_FILE, config))

    def _get_train_sampler(self, *_: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """The mean loss of all heads."""
        return model(**inputs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon for the matrices of the tower's layers, AdamW for the rest."""
        if self.optimizer is None:
            reader = self.model
            hidden = [
                parameter
                for layer in reader.tower.transformer.encoder.layers[: reader.tower.num_layers_run]
                for parameter in layer.parameters()
                if parameter.ndim == 2
            ]
            taken = {id(parameter) for parameter in hidden}
            left_out = {id(parameter) for parameter in _unreached(reader)}
            others = [p for p in reader.parameters() if id(p) not in taken | left_out]
            decay = self.config.weight_decay
            self.optimizer = Muon(
                [
                    {"params": hidden, "lr": self.config.muon, "muon": True, "weight_decay": decay},
                    {"params": [p for p in others if p.ndim > 1], "lr": self.config.rate, "weight_decay": decay},
                    {"params": [p for p in others if p.ndim <= 1], "lr": self.config.rate},
                ]
            )
        return self.optimizer


def _unreached(reader: CropReader) -> list[nn.Parameter]:
    """What serves scoring only, behind the layer whose features are read."""
    transformer = reader.tower.transformer
    modules: list[nn.Module] = [*transformer.encoder.layers[reader.tower.num_layers_run :], transformer.post_layernorm]
    modules += [transformer.head] if reader.tower.keep_all_layers else []
    return [parameter for module in modules for parameter in module.parameters()]


class _Probing(TrainerCallback):
    """Measures now and then how many words are read right, and keeps the curve."""

    def __init__(self, reader: CropReader, probe: ReadingProbe, curve: Path, config: ReadingConfig) -> None:
        self.reader, self.probe, self.curve, self.config = reader, probe, curve, config

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.config.probe_every == 0 or state.global_step == state.max_steps:
            self.reader.eval()
            found = self.probe.measure(self.reader)
            self.reader.train()
            line = {"step": state.global_step, **{name: _shares(reading) for name, reading in found.items()}}
            with self.curve.open("a") as file:
                file.write(json.dumps(line) + "\n")
            logger.info("step %d: %s", state.global_step, line)


def _shares(reading: Reading) -> Mapping[str, float]:
    return {
        "words": round(reading.right / max(1, reading.words), 4),
        "characters": round(1 - reading.distance / max(1, reading.characters), 4),
    }
