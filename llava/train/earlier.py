"""What an earlier start of a run has left, and whether this one may go on with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava.train.config import TrainConfig
from shirg.settings import changed_settings

SETTINGS_FILE = "train.json"
FREE_ON_RESUME = ("save_", "logging_", "eval_", "report_to", "dataloader_", "disable_tqdm", "log_level")
"""Trainer settings that a resumed run may change, by the start of their names: they change no weight."""


def find_checkpoint(config: TrainConfig, *, resume: bool) -> str | None:
    """Where the run goes on: the last checkpoint that was written to its end, None for a run that starts.

    Raises:
        ValueError: if there are checkpoints of a run that is not resumed, or that had other settings.
    """
    out = Path(config.out)
    # The trainer writes its state last.
    whole = [file.parent for file in out.glob("checkpoint-*/trainer_state.json") if _is_json(file)]
    if not resume:
        if whole:
            raise ValueError(f"{out} holds checkpoints of an earlier run; resume it, or choose another out")
        return None
    settings = out / SETTINGS_FILE
    if not whole:
        return None
    if settings.is_file():
        _check_same(json.loads(settings.read_text()), config.to_dict(), out)
    return str(max(whole, key=lambda directory: int(directory.name.rpartition("-")[2])))


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def _check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    free = tuple(f"trainer.{name}" for name in FREE_ON_RESUME)
    changed = [change for change in changed_settings(earlier, now) if not change[0].startswith(free)]
    if changed:
        name, before, wanted = changed[0]
        raise ValueError(
            f"{out} was started with other settings ({name} was {before!r}, now {wanted!r}"
            f"{' and more' if len(changed) > 1 else ''}); resume with the same, or choose another out"
        )
