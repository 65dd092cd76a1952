"""A checkpoint's ``config.json``: as it is written, read without the model it describes, and as that model's config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava.model.language_model.registry import BACKBONES

if TYPE_CHECKING:
    from llava.model.language_model.lavida_config import LavidaConfig

_VISION_SETTINGS = (
    "mm_vision_tower",
    "mm_projector_type",
    "mm_hidden_size",
    "mm_patch_merge_type",
    "mm_pooler_ratio",
    "mm_spatial_pool_mode",
    "mm_vision_select_layer",
)
_IGNORED_VISION_SETTINGS = ("mm_resampler_type", "use_mm_proj", "mm_spatial_pool_stride")


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


def read_config(directory: Path, vision_kwargs: dict[str, Any]) -> LavidaConfig:
    """The config of a checkpoint directory, with entries overridden as in ``load_pretrained_model``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is broken or describes another kind of model.
    """
    from huggingface_hub.errors import StrictDataclassError

    path, settings = directory / "config.json", read_config_file(directory)
    kind = settings["model_type"]
    overrides = dict(vision_kwargs)
    keep_all_layers = overrides.pop("keep_all_layers", settings.get("mm_keep_all_layers", False))
    for name in _IGNORED_VISION_SETTINGS:
        overrides.pop(name, None)
    if unknown := sorted(set(overrides) - set(_VISION_SETTINGS)):
        raise ValueError(f"vision_kwargs does not take {', '.join(unknown)}; it takes {', '.join(_VISION_SETTINGS)}")
    if overrides.get("mm_vision_tower", settings.get("mm_vision_tower")) != settings.get("mm_vision_tower"):
        settings.pop("mm_vision_config", None)
    try:
        config = (
            BACKBONES[kind]
            .resolve()
            .config_class.from_dict({**settings, **overrides, "mm_keep_all_layers": keep_all_layers})
        )
    except (StrictDataclassError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds a setting of the wrong type: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    config.name_or_path = str(directory)
    return config
