"""SHIRG-X's own weights on disk: alone in a directory, or among a checkpoint's tensors. Only safetensors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shirg.config import ShirgXConfig
from shirg.parts import FORMAT_VERSION, SETTINGS_FILE, WEIGHTS_FILE

CHECKPOINT_PREFIX = "shirg_x."

OPTIONAL = "relevance."
"""The part that belongs to one similarity source, and is left alone when another is chosen."""


def save_weights(
    directory: str | Path, module: nn.Module, config: ShirgXConfig, *, unused: Mapping[str, Tensor] | None = None
) -> None:
    """Write the module's tensors and the settings they belong to, with a format version.

    Args:
        unused: tensors of parts that these settings do not use, to be kept for others that do.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    held = {**(unused or {}), **module.state_dict()}
    tensors = {key: value.detach().contiguous().cpu() for key, value in held.items()}
    save_file(tensors, directory / WEIGHTS_FILE, metadata={"format": "pt"})
    settings = {"format_version": FORMAT_VERSION, "config": config.to_dict()}
    (directory / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")


def read_weights(directory: str | Path) -> dict[str, Tensor]:
    """The tensors that a directory holds, under the module's names.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if a file is broken or of another format version.
    """
    directory = Path(directory)
    alone = directory / WEIGHTS_FILE
    if alone.is_file():
        _check_format(directory / SETTINGS_FILE)
        tensors = _read_tensors(alone, "")
    else:
        tensors = {}
        for file in _checkpoint_files(directory):
            tensors |= _read_tensors(file, CHECKPOINT_PREFIX)
    if not tensors:
        raise FileNotFoundError(
            f"{directory} holds no SHIRG-X weights: neither {WEIGHTS_FILE}, nor a checkpoint with {CHECKPOINT_PREFIX}*"
        )
    return tensors


def read_settings(directory: str | Path) -> dict[str, Any] | None:
    """The settings that a directory's weights were saved with, as plain values; None if it does not say.

    Raises:
        ValueError: if the file that should say is broken.
    """
    directory = Path(directory)
    name, key = (SETTINGS_FILE, "config") if (directory / WEIGHTS_FILE).is_file() else ("config.json", "shirg_x")
    try:
        return json.loads((directory / name).read_text(encoding="utf-8")).get(key)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{directory / name} is broken ({error}); restore it") from error


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, fresh: Sequence[str] = ()) -> None:
    """Load all of a module's tensors from ``tensors``; a source that it does not have is left alone, and so are the
    parts that start ``fresh``.

    Raises:
        ValueError: listing the tensors that are missing, unexpected or of another shape.
    """
    wanted = {key: value for key, value in module.state_dict().items() if key.partition(".")[0] not in fresh}
    tensors = {key: value for key, value in tensors.items() if key.partition(".")[0] not in fresh}
    missing = sorted(key for key in wanted.keys() - tensors.keys() if not key.startswith(OPTIONAL))
    unexpected = sorted(key for key in tensors.keys() - wanted.keys() if not key.startswith(OPTIONAL))
    reshaped = sorted(key for key in wanted.keys() & tensors.keys() if wanted[key].shape != tensors[key].shape)
    if missing or unexpected or reshaped:
        raise ValueError(
            f"the SHIRG-X weights do not fit the settings: missing {missing}, unexpected {unexpected}, of another "
            f"shape {reshaped}; use the settings they were saved with"
        )
    module.load_state_dict({key: value for key, value in tensors.items() if key in wanted}, strict=False)


def taught_source(tensors: Iterable[str]) -> str | None:
    """The similarity source whose weights are among the named tensors of SHIRG-X, if there is one."""
    names = [name for name in tensors if name.startswith(OPTIONAL)]
    if not names:
        return None
    return "matched" if any(name.startswith(f"{OPTIONAL}telling.") for name in names) else "learned"


def _checkpoint_files(directory: Path) -> list[Path]:
    """Those that a checkpoint's index names, or its only one: others may be of another checkpoint."""
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return [path for path in [directory / "model.safetensors"] if path.is_file()]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{index} is not a safetensors index; restore it from the checkpoint's source") from error
    return [directory / name for name in sorted(names)]


def _read_tensors(file: Path, prefix: str) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as stored:
            names = [key for key in stored.keys() if key.startswith(prefix)]  # noqa: SIM118 (no mapping)
            return {name.removeprefix(prefix): stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is not a valid safetensors file ({error}); restore it") from error


def _check_format(path: Path) -> None:
    try:
        version = json.loads(path.read_text())["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is missing or broken; it belongs beside {WEIGHTS_FILE}") from error
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, but this code reads {FORMAT_VERSION}; update one of them"
        )
