"""The configuration of a run that teaches a tower to read on crops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, no_type_check

from llava.data.crop_config import CropsConfig
from llava.train.arguments import WITHOUT_EFFECT, read_trainer
from shirg.settings import Settings


@no_type_check  # sections arrive as plain mappings and leave __post_init__ as what they describe
@dataclass(frozen=True, kw_only=True)
class ReadingConfig(Settings):
    """One run.

    Raises:
        ValueError: if a section or a setting is unknown or wrong.
    """

    model: str
    """Checkpoint to start from."""
    out: str
    """Where checkpoints, logs and the result go."""
    crops: CropsConfig
    grid: int = 48
    """Patches along the side of the pages that the tower will see; crops get position embeddings of any part of it."""
    layers: tuple[int, ...] = (2, 5)
    """After which layers, counted from 1, heads name the characters."""
    exact: float = 0.5
    """Share of the loss that asks for no exact place (``line_loss``)."""
    muon: float = 0.02
    """Learning rate of hidden matrices, by Muon."""
    rate: float = 1.5e-3
    """Learning rate of everything else, by AdamW."""
    weight_decay: float = 0.02
    probe_every: int = 500
    """Steps between measurements on families held out."""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """Fields of transformers' TrainingArguments: batch, schedule, saving, logging. Steps follow from the crops."""
    max_bad_steps: int = 3
    """Steps in a row whose loss or gradient is no number, after which a run ends; such a step changes no weight."""
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.crops, Mapping):
            try:
                object.__setattr__(self, "crops", CropsConfig.from_dict(self.crops))
            except (ValueError, TypeError) as error:
                raise ValueError(f"crops: {error}") from error
        for name in ("model", "out"):
            self.check_text(name)
        object.__setattr__(self, "layers", tuple(self.layers))
        for name in ("grid", "probe_every", "max_bad_steps"):
            self.check_count(name, 1)
        self.check_count("seed", 0)
        for name in ("muon", "rate", "weight_decay", "exact"):
            self.check_number(name)
        if self.crops.cells > self.grid:
            raise ValueError(f"crops of {self.crops.cells} patches do not fit into pages of {self.grid}")
        self.check_pairs("trainer")
        object.__setattr__(self, "trainer", read_trainer(self.trainer, own=_OWN, unread=_UNREAD))


_OWN = (
    *("output_dir", "max_steps", "num_train_epochs", "seed", "data_seed"),
    *("gradient_checkpointing", "activation_checkpointing"),
)
"""Settings of transformers' trainer that are this configuration's own, or that crops decide."""

_UNREAD = {
    **WITHOUT_EFFECT,
    "learning_rate": "give rate, and muon for hidden matrices",
    "weight_decay": "give weight_decay, outside of trainer",
    "optim": "the optimizer is Muon with AdamW beside it; give muon and rate",
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon"), "AdamW's constants are fixed here"),
    **dict.fromkeys(("eval_strategy", "eval_steps", "eval_delay", "eval_on_start"), "give probe_every"),
    **dict.fromkeys(("train_sampling_strategy", "ignore_data_skip"), "crops come in their order"),
    "deepspeed": "a tower needs none, and Muon moves whole matrices",
}
