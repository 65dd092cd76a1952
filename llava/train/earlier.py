"""What an earlier start of a run has left, and whether this one may go on with it."""

import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava.files import write_json
from llava.train.arguments import WITHOUT_EFFECT, WORDS_FOR_NO
from llava.train.checkpoints import whole_checkpoints
from llava.train.config import TrainConfig
from llava.train.reading.config import ReadingConfig
from shirg.settings import changed_settings

if TYPE_CHECKING:
    from torch.utils.data import Dataset
    from transformers import TrainingArguments

SETTINGS_FILE = "train.json"
START_FILE = "started.json"
PACKAGES = ("torch", "transformers", "lavida-shirg")
"""Another version of these may compute other numbers."""
FREE_ON_RESUME = ("max_bad_steps", "max_missing_images")
FREE_TRAINER_SETTINGS = ("save_", "logging_", "eval_", "report_to", "dataloader_", "disable_tqdm", "log_level")
"""Settings that a resumed run may change, by the start of their names: they change no weight."""
_UNREAD = tuple(f"trainer.{name}" for name in WITHOUT_EFFECT)

logger = logging.getLogger(__name__)


def find_checkpoint(config: TrainConfig | ReadingConfig, *, resume: bool) -> str | None:
    """Where the run goes on: the last checkpoint that was written to its end, None for a run that starts.

    Raises:
        ValueError: if there are checkpoints of a run that is not resumed, or that had other settings.
    """
    out = Path(config.out)
    whole = whole_checkpoints(out)
    if not resume:
        if whole:
            raise ValueError(f"{out} holds checkpoints of an earlier run; resume it, or choose another out")
        return None
    settings = out / SETTINGS_FILE
    if not whole:
        return None
    if settings.is_file():
        _check_same(json.loads(settings.read_text()), config.to_dict(), out)
    return str(whole[-1])


def _check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    free = (*FREE_ON_RESUME, *(f"trainer.{name}" for name in FREE_TRAINER_SETTINGS), *_UNREAD)
    trainer = {**earlier.get("trainer", {})}
    for name in WORDS_FOR_NO:
        if trainer.get(name) is False:  # as older runs have kept it
            trainer[name] = "no"
    changed = [
        change
        for change in changed_settings({**earlier, "trainer": trainer}, now)
        if not change[0].startswith(free) and _is_kept(change[0], earlier)
    ]
    if changed:
        name, before, wanted = changed[0]
        raise ValueError(
            f"{out} was started with other settings ({name} was {before!r}, now {wanted!r}"
            f"{' and more' if len(changed) > 1 else ''}); resume with the same, or choose another out"
        )


def _is_kept(name: str, earlier: Mapping[str, Any]) -> bool:
    """Whether the earlier start knew of a setting, so that its absence there says something.

    Only fields are new in newer versions. What a field maps (the trainer's settings, learning rates) was free before.
    """
    section, *rest = name.split(".")
    if section not in earlier:
        return False
    held = earlier[section]
    return section == "trainer" or not rest or not isinstance(held, Mapping) or rest[0] in held


def remember_start(
    config: TrainConfig | ReadingConfig, args: "TrainingArguments", dataset: "Dataset", *, resumed: bool
) -> None:
    """Compare what decides a run's result beside its settings with what it was started with, and keep both.

    Raises:
        ValueError: if a run is resumed on other data, by other processes, or with other versions.
    """
    from llava.data.digest import data_digest

    out = Path(config.out)
    start = {
        "processes": args.world_size,
        "samples_per_step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "data": data_digest(dataset),
        "versions": {package: version(package) for package in PACKAGES},
    }
    if resumed:
        _check_start(out, start)
    if args.should_save:
        out.mkdir(parents=True, exist_ok=True)
        write_json(config.to_dict(), out / SETTINGS_FILE)
        if not resumed or not (out / START_FILE).exists():
            write_json(start, out / START_FILE)


def _check_start(out: Path, now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose processes, batch, data or packages were others.

    What its start has not kept is not compared, and the log says so."""
    file = out / START_FILE
    if not file.is_file():
        logger.warning("%s is not there: processes, data and versions are not compared with the start's", file)
        return
    try:
        earlier = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); remove it to go on without comparing") from error
    changed = [change for change in changed_settings(earlier, now) if _is_kept(change[0], earlier)]
    if changed:
        name, before, wanted = changed[0]
        raise ValueError(
            f"{out} was started with other conditions ({name.replace('_', ' ')} was {before}, now {wanted}"
            f"{' and more' if len(changed) > 1 else ''}); resume with the same, choose another out, or remove {file} "
            "to go on with other losses than those of one run"
        )
