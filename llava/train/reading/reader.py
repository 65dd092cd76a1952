"""A vision tower with heads that name the characters in every patch of a crop.

Heads are linear and thrown away after training. One sits on an early layer as well as on the last: taught only at its
end, a fresh tower hardly begins (deep supervision: Lee and others, arXiv 1409.5185).

Axis names: batch (crops), patches (raster order), slots (of a patch), classes (characters, and nothing), dim.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.data.print_targets import NOTHING, SLOTS
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower

NOTHING_WEIGHT = 0.25
"""Weight of slots that hold no character: most of a page is paper, but print must not be seen there either."""


class SlotHead(nn.Module):
    """Names the characters in the slots of patches."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, SLOTS * (NOTHING + 1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (..., slots, classes) of features (..., dim)."""
        return self.classify(self.norm(features)).unflatten(-1, (SLOTS, NOTHING + 1))


class CropReader(nn.Module):
    """The tower and its heads.

    Args:
        layers: after which layers, counted from 1, there is a head; the last is the tower's own output.
        grid: patches along the side of the pages that the tower will see.
    """

    def __init__(self, tower: SigLipVisionTower, layers: Sequence[int], grid: int) -> None:
        super().__init__()
        if not layers or max(layers) > tower.num_layers_run or min(layers) < 1:
            raise ValueError(f"layers must lie between 1 and {tower.num_layers_run}, got {list(layers)}")
        self.tower, self.grid = tower, grid
        self.heads = nn.ModuleDict({str(layer): SlotHead(tower.hidden_size) for layer in sorted({*layers})})

    def logits(self, pixels: Tensor, place: Tensor) -> dict[str, Tensor]:
        """Per head (batch, patches, slots, classes), of crops (batch, 3, side, side) uint8 at (batch, 2) places."""
        transformer = self.tower.transformer
        embeddings = transformer.embeddings
        patches = embeddings.patch_embedding(pixels.to(embeddings.position_embedding.weight.dtype) / 127.5 - 1)
        cells = patches.shape[-1]
        table = embeddings.positions(self.grid).unflatten(0, (self.grid, self.grid))
        steps = torch.arange(cells, device=place.device)
        rows, columns = place[:, :1] + steps, place[:, 1:] + steps
        hidden = patches.flatten(2).transpose(1, 2) + table[rows[:, :, None], columns[:, None]].flatten(1, 2)
        found = {}
        for number, layer in enumerate(transformer.encoder.layers[: self.tower.num_layers_run], 1):
            hidden = layer(hidden, None)
            if str(number) in self.heads:
                found[str(number)] = self.heads[str(number)](hidden)
        return found

    def forward(
        self, pixels: Tensor, place: Tensor, first: Tensor, second: Tensor, shares: Tensor, asked: Tensor
    ) -> Tensor:
        """The mean over heads of ``slot_loss``, scalar."""
        losses = [slot_loss(logits, first, second, shares, asked) for logits in self.logits(pixels, place).values()]
        return torch.stack(losses).mean()


def slot_loss(logits: Tensor, first: Tensor, second: Tensor, shares: Tensor, asked: Tensor) -> Tensor:
    """The cross-entropy of naming every slot, scalar; slots without a character weigh ``NOTHING_WEIGHT``.

    Args:
        logits: (batch, patches, slots, classes).
        first, second, shares, asked: as ``PrintTargets``, with a batch in front.
    """
    shape = logits.shape[:-1]
    first, second, asked = (part.reshape(shape) for part in (first, second, asked))
    shares = shares.reshape(*shape, 2)
    scores = logits.float().log_softmax(-1)
    said = [scores.gather(-1, classes.long()[..., None]).squeeze(-1) for classes in (first, second)]
    shown = shares.sum(-1)
    losses = -(shares[..., 0] * said[0] + shares[..., 1] * said[1] + (1 - shown) * scores[..., NOTHING])
    weights = asked * (NOTHING_WEIGHT + (1 - NOTHING_WEIGHT) * shown)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def slot_probabilities(logits: Tensor) -> Tensor:
    """(batch, patches, slots, classes) float32."""
    return F.softmax(logits.float(), dim=-1)
