"""The checkpoints of a run as directories: which are whole, and how one is put in its place."""

import json
import shutil
from pathlib import Path

UNFINISHED = ".saving"
"""Where a checkpoint grows until it is whole, in the directory of its run."""


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def whole_checkpoints(out: Path) -> list[Path]:
    """The checkpoints that were written to their end, the earliest first."""
    # The trainer writes its state last.
    found = [file.parent for file in out.glob("checkpoint-*/trainer_state.json") if _is_json(file)]
    return sorted(found, key=step_of)


def put_in_place(out: Path, name: str) -> None:
    """Move a checkpoint that is whole from ``UNFINISHED`` to where runs are resumed from; an older one makes way."""
    fresh, place, old = out / UNFINISHED / name, out / name, out / UNFINISHED / f"{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True
