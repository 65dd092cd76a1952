"""A checkpoint's ``config.json`` as it is written, read without the model it describes."""

import json
from pathlib import Path
from typing import Any

from llava.model.language_model.registry import BACKBONES


def read_config_file(directory: Path) -> dict[str, Any]:
    """The entries of a checkpoint directory's ``config.json``, unchecked but for what kind of model they describe.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is broken, or describes another kind of model than LaViDa.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} holds no config.json; give the directory of a LaViDa checkpoint")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); restore it from the checkpoint's source") from error
    kind = str(entries.get("model_type")) if isinstance(entries, dict) else type(entries).__name__
    if not isinstance(entries, dict) or kind not in BACKBONES:
        raise ValueError(f"{path} describes {kind!r}, not a LaViDa model ({' or '.join(BACKBONES)})")
    return entries
