"""Crops of print as training samples: crop number i is drawn when it is asked for, and never stored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from llava.data.crop_config import CropsConfig
from llava.data.print_targets import print_targets
from llava.pages.crops import CropStyle, draw_crop
from llava.pages.faces import FontBook, training_faces


class CropDataset(Dataset[Mapping[str, Tensor]]):
    """Crops with the targets of their patches.

    Args:
        patch: pixels along a patch's side.
        grid: patches along the side of a page, from whose position embeddings a crop's are cut at random.
    """

    def __init__(self, config: CropsConfig, *, patch: int, grid: int) -> None:
        self.config, self.patch, self.grid = config, patch, grid
        self._book = training_faces(tuple(map(Path, config.fonts)))

    def __len__(self) -> int:
        return self.config.crops

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, index])
        ease = max(0.0, 1 - index / (config.ramp * config.crops)) if config.ramp else 0.0
        place = rng.integers(0, self.grid - config.cells + 1, 2)
        return crop_sample(rng, self._book, config.cells, self.patch, tuple(place.tolist()), ease=ease)


def crop_sample(
    rng: np.random.Generator,
    book: FontBook,
    cells: int,
    patch: int,
    place: tuple[int, int],
    *,
    style: CropStyle | None = None,
    ease: float = 0.0,
) -> dict[str, Tensor]:
    """One crop: ``pixels`` (3, side, side) uint8, ``place`` (2,) of its first patch on the page, and its targets."""
    side = cells * patch
    image, printed = draw_crop(rng, book, side, style=style, ease=ease)
    targets = print_targets(printed, side, side, patch)
    return {
        "pixels": torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()),
        "place": torch.tensor(place),
        "classes": torch.from_numpy(targets.classes).short(),
        "places": torch.from_numpy(targets.places),
        "asked": torch.from_numpy(targets.asked),
    }


def stack(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Samples as a batch."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
