"""From a directory or a hub id to a directory on disk, and loading from it without noise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llava.constants import ASSETS

BUNDLED = ASSETS / "lavida-small"
"""The model that travels with the package."""

SAFE_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is fetched from a hub: weights as safetensors, settings and tokenizers; never pickles, never code."""


def resolve_directory(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    allow_patterns: Sequence[str] = SAFE_FILES,
    **options: Any,
) -> Path:
    """The directory itself, the bundled model by its name, or a download of the hub repository of that name.

    Args:
        options: of the download, as huggingface_hub's ``snapshot_download`` takes them (``token``, ``cache_dir``, ...).

    Raises:
        FileNotFoundError: if it is neither, naming what was tried.
        ValueError: if the path is a file.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ValueError(f"{path} is a file; give the checkpoint's directory")
    name = str(name_or_path)
    if name == BUNDLED.name:
        return BUNDLED
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise FileNotFoundError(f"no directory {name}; give a checkpoint directory or a hub id such as owner/name")
    # Here, since most models lie in a directory, and these imports take longer than refusing one that does not.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(allow_patterns), **options))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"{name} is no directory here, and fetching it from the hub failed: {reason}"
        ) from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' reports while loading; every tensor it would report is checked by the caller.

    Its progress bar stays for loads that last.
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
