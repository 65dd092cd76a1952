"""What the tests of the command line share: a checkpoint that answers quickly, and a room to spoil things in."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

QUICK_SHIRG_X = {"grid": 12, "budgets": [32, 48, 64]}
INDEX = "model.safetensors.index.json"


def copy_checkpoint(checkpoint: Path, out: Path) -> Path:
    """A copy of the checkpoint, with the SigLIP repository beside it."""
    shutil.copytree(checkpoint.parent, out)
    return out / checkpoint.name


def edit_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Rewrite the weights as one file, after ``edit`` has changed them in place."""
    shards = sorted(directory.glob("*.safetensors"))
    tensors = {key: value for shard in shards for key, value in load_file(shard).items()}
    edit(tensors)
    for file in [*shards, directory / INDEX]:
        file.unlink()
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def quick_checkpoint(checkpoint: Path, out: Path) -> Path:
    """A copy whose SHIRG-X settings make it small work, and of which nobody is warned."""
    directory = copy_checkpoint(checkpoint, out)
    edit_config(directory, shirg_x=QUICK_SHIRG_X, unsure_below=0.0)
    return directory


def write_page(path: Path, size: tuple[int, int] = (173, 131)) -> Path:
    """A picture with something to see in every part."""
    columns = Image.linear_gradient("L").resize(size)
    rows = Image.linear_gradient("L").rotate(90).resize(size)
    radial = Image.radial_gradient("L").resize(size)
    Image.merge("RGB", (columns, rows, radial)).save(path)
    return path


@dataclass(frozen=True, kw_only=True)
class Room:
    """A directory of its own for one test, and a sound model and page to start from."""

    path: Path
    model: Path
    page: Path

    def file(self, name: str, content: bytes | str) -> str:
        path = self.path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def copy(self) -> Path:
        """A checkpoint to be spoiled."""
        return copy_checkpoint(self.model, self.path / "copy")


Call = Callable[..., tuple[str, str]]
"""Runs a command with the quick model; gives stdout and stderr of a success."""
