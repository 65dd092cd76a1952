"""What an adapter says about itself, read without its tensors, and the tensors for whoever asks for them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from llava.tuning.config import TrainableConfig
from llava.tuning.fingerprint import Fingerprint
from shirg.config import ShirgXConfig
from shirg.parts import WEIGHTS_FILE as SHIRG_WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "adapter.safetensors"
SETTINGS_FILE = "adapter.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """What an adapter says about itself; its tensors are read when they are asked for."""

    directory: Path
    trainable: TrainableConfig
    shirg_x: ShirgXConfig | None
    """The settings that the adapter was trained with; None where it was trained without SHIRG-X."""
    base: Fingerprint

    @classmethod
    def read(cls, directory: str | Path) -> "AdapterSettings":
        """The settings of an adapter's directory.

        Raises:
            FileNotFoundError: if there is no such directory, or it holds no adapter.
            ValueError: if its settings are broken or of another format version.
        """
        directory = Path(directory).expanduser()
        path = directory / SETTINGS_FILE
        if not directory.exists():
            raise FileNotFoundError(f"there is no adapter directory {directory}; give one that save_adapter wrote")
        if not directory.is_dir():
            raise ValueError(f"{directory} is a file; give the adapter's directory")
        if not path.is_file():
            raise FileNotFoundError(f"{directory} holds no {SETTINGS_FILE}{_found_instead(directory)}")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not the settings of an adapter; restore it") from error
        if version != FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {version}, but this code reads {FORMAT_VERSION}; update one of them"
            )
        try:
            return cls(
                directory=directory,
                trainable=TrainableConfig.from_dict(values["trainable"]),
                shirg_x=None if values["shirg_x"] is None else ShirgXConfig.from_dict(values["shirg_x"]),
                base=Fingerprint(**values["base"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} lacks settings or holds others than an adapter's; restore it") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def weight_files(self) -> list[Path]:
        """The safetensors files of the adapter, each with a readable header.

        Raises:
            FileNotFoundError: if one is missing.
            ValueError: if one is broken.
        """
        names = [WEIGHTS_FILE] if self.shirg_x is None else [WEIGHTS_FILE, SHIRG_WEIGHTS_FILE]
        for name in names:
            with opened(self.directory / name):
                pass
        return [self.directory / name for name in names]

    def read_tensors(self) -> "dict[str, Tensor]":
        """LoRA, and the projector where it was trained in full; SHIRG-X's weights lie beside them.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if it is broken.
        """
        with opened(self.directory / WEIGHTS_FILE) as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)

    def choose_shirg(self, wanted: ShirgXConfig | None = None) -> ShirgXConfig | None:
        """The settings of SHIRG-X to run with: those wanted, else the adapter's own; None to run without.

        Raises:
            ValueError: if SHIRG-X is not wanted but the adapter was trained with it.
        """
        if self.shirg_x is not None and wanted is not None and wanted.mode == "stock":
            raise ValueError(
                f"the adapter {self.directory} was trained with SHIRG-X, so LaViDa's own encoding does not fit it; "
                "leave out the adapter, or what asks for it (--no-shirg, mode: stock)"
            )
        if wanted is None:
            return self.shirg_x
        return None if wanted.mode == "stock" else wanted


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file of an adapter, opened for PyTorch.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is broken.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; an adapter's files belong together{_found_instead(file.parent)}")
    try:
        with safe_open(file, framework="pt") as stored:
            yield stored
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is not a valid safetensors file ({error}); restore it") from error


def _found_instead(directory: Path) -> str:
    if (directory / "adapter_config.json").is_file():
        return "; its adapter_config.json is peft's own format: give a directory that save_adapter wrote"
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    return f"; {pickles[0]} is a pickle and is never read" if pickles else "; give one that save_adapter wrote"
