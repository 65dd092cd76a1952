"""A vision tower with heads that name the characters in every patch of a crop.

Heads are linear and thrown away after training. One sits on an early layer as well as on the last: taught only at its
end, a fresh tower hardly begins (deep supervision: Lee and others, arXiv 1409.5185).

Axis names: batch (crops), patches (raster order), slots (of a patch), classes (characters, and nothing), dim.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava.data.print_targets import NONE, NOTHING, SLOTS
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower

NOTHING_WEIGHT = 0.1
"""Weight of slots without a character: most of a page is paper, and a tower that is asked for it sees nothing else."""


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
        exact: as of ``line_loss``.
    """

    def __init__(self, tower: SigLipVisionTower, layers: Sequence[int], grid: int, *, exact: float = 0.5) -> None:
        super().__init__()
        if not layers or max(layers) > tower.num_layers_run or min(layers) < 1:
            raise ValueError(f"layers must lie between 1 and {tower.num_layers_run}, got {list(layers)}")
        self.tower, self.grid = tower, grid
        self.exact = exact
        self.heads = nn.ModuleDict({str(layer): SlotHead(tower.own_size) for layer in sorted({*layers})})

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
        self, pixels: Tensor, place: Tensor, classes: Tensor, places: Tensor, asked: Tensor, ease: Tensor
    ) -> Tensor:
        """The mean of ``line_loss`` over heads and characters, scalar; asked more exactly as crops lose their ease."""
        found = self.logits(pixels, place).values()
        exact = self.exact * (1 - float(ease.mean()))
        sums = torch.stack([line_loss(logits, classes, places, asked, exact=exact).sum() for logits in found])
        return sums.mean() / (classes != NONE).sum().clamp(min=1)


def line_loss(logits: Tensor, classes: Tensor, places: Tensor, asked: Tensor, *, exact: float = 0.5) -> Tensor:
    """How far the slots of every row are from its characters: (batch,) float32, each crop's sum over characters.

    Two losses are mixed. One names every slot: a character its own, and near a border also the one beside it. The
    other sums the probability of the row over all ways to name each character in its own slot or in one beside it, one
    behind the other, and nothing elsewhere: connectionist temporal classification (Graves and others, 2006) with every
    character kept near its place, and without the rule that joins equal neighbors. The first one learns faster, since
    slots that hold nothing weigh little in it; the second asks for no place that cannot be told.

    Args:
        logits: (batch, patches, slots, classes) of a square of patches.
        classes: (batch, rows, most), as ``PrintTargets`` has them.
        places: (batch, rows, most), as ``PrintTargets`` has them.
        asked: (batch, rows, across), as ``PrintTargets`` has them.
        exact: share of the second loss.
    """
    batch, rows, across = asked.shape
    lines = logits.float().log_softmax(-1).reshape(batch * rows, across, -1)
    classes, places, asked = (part.reshape(batch * rows, -1) for part in (classes.long(), places.float(), asked))
    real = classes != NONE
    most = max(1, int(real.sum(1).max()))
    classes, places, real = classes[:, :most].clamp(min=0), places[:, :most], real[:, :most]
    empty = lines[..., NOTHING] * asked
    own = places.floor().long()
    # (lines, most, 3): the slot before a character's own, its own, and the one behind.
    slots = own[..., None] + torch.arange(-1, 2, device=own.device)
    inside = (slots >= 0) & (slots < across) & real[..., None]
    index = slots.clamp(0, across - 1).flatten(1)
    named = lines.gather(1, index[..., None].expand(-1, -1, lines.shape[-1]))
    named = named.gather(2, classes.repeat_interleave(3, dim=1)[..., None]).squeeze(-1)
    gain = (named - empty.gather(1, index)).unflatten(1, (most, 3))
    near = torch.zeros_like(empty).scatter_reduce(1, index, inside.flatten(1).float(), "amax") > 0
    total = NOTHING_WEIGHT * (empty * ~near).sum(1)
    if exact < 1:
        shares = _shares(places) * inside
        named_alone = gain + (1 - NOTHING_WEIGHT) * empty.gather(1, index).unflatten(1, (most, 3))
        total = total + (1 - exact) * ((named_alone * shares).sum((1, 2)) + NOTHING_WEIGHT * (empty * near).sum(1))
    if exact > 0:
        written = _any_order(gain.masked_fill(~inside, _NEVER), slots, real)
        total = total + exact * (written + (empty * near).sum(1))
    return -total.view(batch, rows).sum(1)


def _shares(places: Tensor) -> Tensor:
    """(lines, most, 3): how much of a character belongs to the slot before its own, its own, and the one behind."""
    inside = places - places.floor()
    near = torch.minimum(inside, 1 - inside)
    own = (0.5 + 0.5 * near / _BORDER).clamp(max=1)
    return torch.stack([(1 - own) * (inside < 0.5), own, (1 - own) * (inside >= 0.5)], dim=-1)


def _any_order(gain: Tensor, slots: Tensor, real: Tensor) -> Tensor:
    """The log of the sum over all ways to place the characters of a line, over that of naming none: (lines,).

    Args:
        gain: (lines, most, 3) log odds of a character in a slot against nothing there.
        slots: (lines, most, 3).
        real: (lines, most).
    """
    total = gain[:, 0]
    for number in range(1, gain.shape[1]):
        allowed = slots[:, number, :, None] > slots[:, number - 1, None]
        reached = total[:, None].masked_fill(~allowed, _NEVER).logsumexp(-1)
        total = torch.where(real[:, number, None], gain[:, number] + reached, total)
    return torch.where(real[:, 0], total.logsumexp(-1), 0)


_BORDER = 0.22
"""Middles this near to a slot's border, in slots, count for both sides."""
_NEVER = -1e4
"""A log probability that no sum notices, and that leaves gradients finite."""


def slot_probabilities(logits: Tensor) -> Tensor:
    """(batch, patches, slots, classes) float32."""
    return F.softmax(logits.float(), dim=-1)
