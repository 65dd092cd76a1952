"""What a checkpoint's own config says, and what a caller changes of it, before any weight is read."""

from pathlib import Path
from typing import Any

from llava.constants import ASSETS
from llava.model.builder import read_config
from llava.model.hub import resolve_directory
from llava.model.language_model.llava_llada import LlavaLladaConfig
from llava.tuning.adapter import AdapterSettings
from shirg.config import ShirgXConfig

BUNDLED_MODEL = ASSETS / "lavida-small"


def read_checkpoint_config(model: str | Path, revision: str | None = None) -> LlavaLladaConfig:
    """The config of a checkpoint; of a hub repository, only JSON files are fetched.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is not LaViDa's.
    """
    return read_config(resolve_directory(model, revision=revision, allow_patterns=("*.json",)), {})


def shirg_settings(
    config: LlavaLladaConfig,
    file: str | Path | None = None,
    *,
    adapter: AdapterSettings | None = None,
    **changes: Any,
) -> ShirgXConfig:
    """SHIRG-X's settings, with some changed: a YAML file's, else an adapter's, else the checkpoint's or the defaults.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if settings are unknown, out of range, or contradict each other.
    """
    if file is not None:
        return ShirgXConfig.from_yaml(file).replace(**changes)
    if adapter is not None and adapter.shirg_x is not None:
        return adapter.shirg_x.replace(**changes)
    try:
        settings = ShirgXConfig.from_dict(config.shirg_x or {})
    except ValueError as error:
        raise ValueError(f"{config.name_or_path}/config.json, shirg_x: {error}") from error
    return settings.replace(**changes)


def vision_kwargs(shirg: ShirgXConfig | None) -> dict[str, bool]:
    """What to load a vision tower with: all layers, LaViDa's missing ones too, where the similarity reads them."""
    return {"keep_all_layers": True} if shirg is not None and shirg.reads_left_out_layers else {}
