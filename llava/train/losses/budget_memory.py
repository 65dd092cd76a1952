"""What was measured of budgets, kept for the steps between: a measurement takes a dozen passes, learning from it none.

As a replay buffer (Lin, 1992). Axis names: images, rows and columns (of the map that the budget head looks at).
"""

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from llava.train.losses.budget import budget_loss


class BudgetMemory:
    """The pages of the last measurements, by the maps that the head looks at, and the budgets that would have done.

    A label is of the model as it was when it was measured, so that old ones are given up. Each process has its own.

    Args:
        length: measurements that are kept.
    """

    def __init__(self, length: int) -> None:
        self._kept: deque[tuple[Tensor, Tensor]] = deque(maxlen=length)
        self.picked: Tensor | None = None
        """(2, budgets) int64: the pages of which the head picked each budget when it last learned, and of which each
        is the label."""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, maps: Tensor, labels: Tensor) -> None:
        """Keep one more measurement.

        Args:
            maps: (images, rows, columns) float32.
            labels: (images,) int64 indices of budgets.
        """
        self._kept.append((maps.detach(), labels.detach()))

    def learn(self, head: nn.Module) -> tuple[Tensor, Tensor]:
        """The sum of the head's losses on all pages that are kept, float32, and their number; there must be some."""
        maps, labels = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        logits = head(maps)
        count = logits.shape[1]
        # Of equal logits the larger budget, as where it is asked.
        picked = torch.stack([count - 1 - logits.flip(-1).argmax(-1), labels])
        self.picked = (picked[..., None] == torch.arange(count, device=labels.device)).sum(1)
        return budget_loss(logits, labels).sum(), torch.tensor(len(labels), device=labels.device)

    def state(self) -> dict[str, Tensor]:
        """Everything that is kept, as tensors that a file can hold."""
        return {
            f"{name}.{number}": value.cpu().contiguous()
            for number, kept in enumerate(self._kept)
            for name, value in zip(("maps", "labels"), kept, strict=True)
        }

    def load(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Keep what ``state`` gave, and nothing else."""
        self._kept.clear()
        for number in range(len(state) // 2):
            self.add(state[f"maps.{number}"].to(device), state[f"labels.{number}"].to(device))
