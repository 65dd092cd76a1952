"""From the words that ``from_pretrained`` takes about the hub to a checkpoint's directory on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava.model.hub import SAFE_FILES, resolve_directory

SMALL_FILES = tuple(pattern for pattern in SAFE_FILES if pattern != "*.safetensors")
"""Settings and tokenizers, without weights."""

_OF_THE_HUB = ("cache_dir", "force_download", "local_files_only", "token")
_IDLE = ("_from_auto", "_from_pipeline", "trust_remote_code", "code_revision", "use_fast")
"""What auto classes and pipelines pass along; no code of a checkpoint runs, trusted or not."""
_OF_MODELS = ("dtype", "torch_dtype", "device_map", "config")
"""What pipelines pass to processors too."""


def take_directory(name_or_path: str | Path, options: dict[str, Any], *, files: Sequence[str] = SAFE_FILES) -> Path:
    """The directory of a checkpoint; takes out of ``options`` what belongs to finding it.

    Raises:
        FileNotFoundError: if there is no such directory or repository.
    """
    found = {name: options.pop(name) for name in _OF_THE_HUB if options.get(name) is not None}
    for name in (*_OF_THE_HUB, "proxies"):
        options.pop(name, None)
    revision, folder = options.pop("revision", None), options.pop("subfolder", "")
    return resolve_directory(name_or_path, revision=revision, allow_patterns=files, **found) / folder


def drop_idle(options: dict[str, Any]) -> dict[str, Any]:
    """The options without those that mean nothing here."""
    return {name: value for name, value in options.items() if name not in _IDLE}


def refuse_options(options: dict[str, Any], whose: str) -> None:
    """Refuse what is left of the options of something that is no model.

    Raises:
        TypeError: naming one.
    """
    if unknown := sorted(drop_idle(options).keys() - set(_OF_MODELS)):
        raise TypeError(f"{whose} does not take {', '.join(unknown)}; leave it out")
