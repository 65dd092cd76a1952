"""The configuration of a run that teaches a tower to read on crops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, no_type_check

from llava.data.crop_config import CropsConfig
from llava.train.arguments import check_trainer
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
        for name in ("grid", "probe_every"):
            self.check_count(name, 1)
        self.check_count("seed", 0)
        for name in ("muon", "rate", "weight_decay", "exact"):
            self.check_number(name)
        if self.crops.cells > self.grid:
            raise ValueError(f"crops of {self.crops.cells} patches do not fit into pages of {self.grid}")
        check_trainer(self.trainer, own=("output_dir", "max_steps", "num_train_epochs"))
