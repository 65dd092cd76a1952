"""Keys and values of a frozen prefix, with room for the answer behind them.

Axis names: batch (samples), heads, slots (prefix + answer positions), head_dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class KVCache:
    """One buffer per layer, allocated once: the prefix stands at the front, the answer's slice is rewritten each step.

    Keys are stored after the rotary embedding, so a step rotates only the answer's keys.
    """

    keys: tuple[Tensor, ...]
    """Per layer, (batch, heads, slots, head_dim)."""
    values: tuple[Tensor, ...]
    prefix_length: int
    """Slots that the longest prefix fills; shorter ones leave slots that ``bias`` hides."""
    prefix_lengths: Tensor
    """(batch,) int64: real prefix positions of each sample."""
    bias: Tensor | None
    """(batch, 1, 1, slots) to add to attention scores, -inf on padding, in the keys' dtype; None if nothing is
    padded. Made once, since a boolean mask would be turned into this in every layer of every step."""

    def prefix(self, layer: int) -> tuple[Tensor, Tensor]:
        """Views of one layer's prefix keys and values, each (batch, heads, prefix, head_dim)."""
        return self.keys[layer][:, :, : self.prefix_length], self.values[layer][:, :, : self.prefix_length]

    def answer_positions(self, num_answer: int) -> Tensor:
        """(batch, num_answer) rotary positions: each answer directly follows its own prefix."""
        offsets = torch.arange(num_answer, device=self.prefix_lengths.device)
        return self.prefix_lengths[:, None] + offsets
