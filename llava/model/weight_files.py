"""The safetensors files of a checkpoint directory."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

SHIRG_PREFIX = "shirg_x."


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint directory, each with a readable header.

    Raises:
        FileNotFoundError: if there are none, or one that the index names is missing.
        ValueError: if one of them, or the index, is broken, or there are files of another checkpoint beside them.
    """
    index, single = directory / "model.safetensors.index.json", directory / "model.safetensors"
    if single.is_file() and index.is_file():
        raise ValueError(f"{directory} holds both {single.name} and {index.name}; delete the one that is outdated")
    if single.is_file():
        files = [single]
    elif index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{index} is not a safetensors index; restore it from the checkpoint's source") from error
        files = [directory / name for name in names]
    else:
        found = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
        hint = f"; {found[0]} is a pickle and is never read: convert it to safetensors" if found else ""
        raise FileNotFoundError(f"{directory} holds no model.safetensors or model.safetensors.index.json{hint}")
    if foreign := sorted(path.name for path in directory.glob("model*.safetensors") if path not in files):
        raise ValueError(
            f"{directory} holds {foreign[0]}, which is no part of {files[0].name}'s checkpoint; delete what is outdated"
        )
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{index} names {file.name}, which is missing; fetch the checkpoint again")
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} is not a valid safetensors file ({error}); fetch it again") from error
    return files


def read_shirg_x(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """SHIRG-X's tensors among a checkpoint's, by their names in its module."""
    found: dict[str, torch.Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(SHIRG_PREFIX)]  # noqa: SIM118 (no mapping)
            found |= {name.removeprefix(SHIRG_PREFIX): tensors.get_tensor(name) for name in names}
    return found
