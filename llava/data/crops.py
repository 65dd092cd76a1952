"""Crops of print as training samples: crop number i is drawn when it is asked for, and never stored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from llava.data.crop_config import CropsConfig
from llava.data.print_targets import print_targets
from llava.pages.crops import draw_crop
from llava.pages.faces import training_faces
from llava.pages.pdf_crops import PdfPages
from llava.pages.print import Print


class CropDataset(Dataset[Mapping[str, Tensor]]):
    """Crops with the targets of their patches.

    Args:
        patch: pixels along a patch's side.
        grid: patches along the side of a page, from whose position embeddings a crop's are cut at random.
    """

    def __init__(self, config: CropsConfig, *, patch: int, grid: int) -> None:
        self.config, self.patch, self.grid = config, patch, grid
        self._book = training_faces(tuple(map(Path, config.fonts)))
        self._pdfs = PdfPages(find_pdfs(config.pdfs)) if config.pdfs and config.pdf_share else None

    def __len__(self) -> int:
        return self.config.crops

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, index])
        ease = max(0.0, 1 - index / (config.ramp * config.crops)) if config.ramp else 0.0
        place = rng.integers(0, self.grid - config.cells + 1, 2)
        side = config.cells * self.patch
        # By its number and not by chance: neighbors share a page.
        count = int((index + 1) * config.pdf_share) - int(index * config.pdf_share)
        if self._pdfs is not None and count:
            image, printed = self._pdfs.crop(config.seed, int(index * config.pdf_share), side, ease=ease)
        else:
            image, printed = draw_crop(rng, self._book, side, ease=ease)
        return crop_sample(image, printed, self.patch, tuple(place.tolist()), ease=ease)


def find_pdfs(names: Sequence[str]) -> list[Path]:
    """The PDF files among some paths and in the folders among them.

    Raises:
        FileNotFoundError: if there is no such file or folder.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {name} with PDFs")
        found += sorted(path.rglob("*.pdf")) if path.is_dir() else [path]
    return found


def crop_sample(
    image: Image.Image, printed: Print, patch: int, place: tuple[int, ...], *, ease: float = 0.0
) -> dict[str, Tensor]:
    """One crop: ``pixels`` (3, side, side) uint8, ``place`` (2,) of its first patch, its targets and its ease."""
    side = image.width
    targets = print_targets(printed, side, side, patch)
    return {
        "pixels": torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()),
        "place": torch.tensor(place),
        "classes": torch.from_numpy(targets.classes).short(),
        "places": torch.from_numpy(targets.places),
        "asked": torch.from_numpy(targets.asked),
        "ease": torch.tensor(ease),
    }


def stack(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Samples as a batch."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
