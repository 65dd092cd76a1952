"""How well a tower reads, in conditions that training varies, and on families of type that it never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from llava.data.print_targets import SLOTS
from llava.metrics.reading import Reading, read_print, score_reading
from llava.pages.crops import CropStyle, draw_crop
from llava.pages.faces import FontBook
from llava.train.reading.reader import CropReader, slot_probabilities

_SEED = 20_260_101
_PLAIN = CropStyle(colored=0.0, dark=0.0, wear=CropStyle().wear.scaled(0.0))


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Crops of one kind."""

    name: str
    style: CropStyle
    held_out: bool = True
    ease: float = 0.0


def _sized(size: float) -> CropStyle:
    return replace(_PLAIN, least_size=size, most_size=size * 1.001, most_squeeze=1.0)


CONDITIONS = (
    Condition(name="13 px, trained", style=_sized(13), held_out=False),
    Condition(name="11 px", style=_sized(11)),
    Condition(name="13 px", style=_sized(13)),
    Condition(name="18 px", style=_sized(18)),
    Condition(name="26 px", style=_sized(26)),
    Condition(name="everything", style=CropStyle()),
)
"""The first in families that were trained on, all others in families held out."""


class ReadingProbe:
    """The same crops of every condition, asked again and again while a tower learns."""

    def __init__(
        self,
        trained: FontBook,
        held_out: FontBook,
        *,
        cells: int,
        patch: int,
        crops: int = 24,
        conditions: Sequence[Condition] = CONDITIONS,
    ) -> None:
        self.patch, self.cells = patch, cells
        self._crops = {
            condition.name: [
                draw_crop(
                    np.random.default_rng([_SEED, number]),
                    held_out if condition.held_out else trained,
                    cells * patch,
                    style=condition.style,
                    ease=condition.ease,
                )
                for number in range(crops)
            ]
            for condition in conditions
        }

    @torch.no_grad()
    def measure(self, reader: CropReader, *, batch: int = 24) -> Mapping[str, Reading]:
        """Per condition, the words read right by the last head."""
        found: dict[str, Reading] = {}
        middle = (reader.grid - self.cells) // 2
        for name, crops in self._crops.items():
            total = Reading(words=0, right=0, characters=0, distance=0)
            for start in range(0, len(crops), batch):
                part = crops[start : start + batch]
                pixels = torch.from_numpy(np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in part]))
                logits = list(reader.logits(pixels, torch.full((len(part), 2), middle)).values())[-1]
                chances = slot_probabilities(logits).numpy().reshape(len(part), self.cells, self.cells, SLOTS, -1)
                for own, (_, printed) in zip(chances, part, strict=True):
                    total += score_reading(read_print(own, printed, self.patch))
            found[name] = total
        return found
