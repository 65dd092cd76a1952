"""Builds the vision tower that a LaViDa config names."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig, SiglipVisionConfig

from llava.model.hub import SAFE_FILES, resolve_directory
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower, read_vision_config


def vision_directory(config: PretrainedConfig, *, files: Sequence[str] = SAFE_FILES) -> Path:
    """The directory of the SigLIP repository that the config names; from a hub only ``files`` are fetched.

    A relative path is read against the checkpoint's own directory, so that a checkpoint travels with its tower;
    anything else is a path or a hub id.
    """
    name = config.mm_vision_tower
    if not name:
        raise ValueError("the config names no vision tower; set mm_vision_tower to a SigLIP directory or hub id")
    home = config.name_or_path
    beside = Path(home or ".") / name
    if name.startswith(".") or (home and beside.is_dir()):
        return beside
    return resolve_directory(name, allow_patterns=files)


def vision_config(config: PretrainedConfig) -> SiglipVisionConfig:
    """The vision sizes: ``config.mm_vision_config`` when it holds them, else those of the SigLIP repository.

    Raises:
        ValueError: if they are wrong.
    """
    if not config.mm_vision_config:
        return read_vision_config(vision_directory(config, files=("config.json",)))
    try:
        return SiglipVisionConfig(**config.mm_vision_config)
    except (StrictDataclassError, TypeError) as error:
        raise ValueError(f"config: mm_vision_config is wrong: {' '.join(str(error).split())}") from error


def build_vision_tower(config: PretrainedConfig) -> SigLipVisionTower:
    """An uninitialized tower for a LaViDa config."""
    return SigLipVisionTower(
        vision_config(config),
        select_layer=config.mm_vision_select_layer,
        keep_all_layers=config.mm_keep_all_layers,
    )
