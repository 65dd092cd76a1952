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
    """Per layer, (batch, heads, slots, head_dim); several query heads may share one of these heads."""
    values: tuple[Tensor, ...]
    prefix_length: int
    """Slots that the longest prefix fills; shorter ones leave slots that ``bias`` hides."""
    prefix_lengths: Tensor
    """(batch,) int64: real prefix positions of each sample."""
    bias: Tensor | None
    """(batch, 1, 1, slots) to add to attention scores, -inf on padding, in the keys' dtype; None if nothing is
    padded. Made once, since a boolean mask would be turned into this in every layer of every step."""
    before: Tensor | None = None
    """(batch, dim) final hidden state of each prompt's last position, where the first answer token is read from it."""

    def prefix(self, layer: int) -> tuple[Tensor, Tensor]:
        """Views of one layer's prefix keys and values, each (batch, heads, prefix, head_dim)."""
        return self.keys[layer][:, :, : self.prefix_length], self.values[layer][:, :, : self.prefix_length]

    def answer_positions(self, num_answer: int) -> Tensor:
        """(batch, num_answer) rotary positions: each answer directly follows its own prefix."""
        offsets = torch.arange(num_answer, device=self.prefix_lengths.device)
        return self.prefix_lengths[:, None] + offsets

    def separating_bias(self, states: int, num_answer: int) -> Tensor:
        """(batch or 1, 1, states * num_answer, slots) to add to attention scores: answers that stand one behind the
        other see the prefix and themselves, and no other answer.

        A corner of it, for fewer of these answers, is the bias for them.
        """
        keys = self.keys[0]
        answer = torch.arange(states * num_answer, device=keys.device) // num_answer
        slots = keys.shape[2]
        bias = torch.zeros(1, 1, len(answer), slots, device=keys.device, dtype=keys.dtype)
        bias[..., self.prefix_length :].masked_fill_(answer[:, None] != answer, -torch.inf)
        return _aligned(bias if self.bias is None else bias + self.bias)


def _aligned(bias: Tensor) -> Tensor:
    """The bias with rows that start at multiples of 8 elements, as fused attention wants them."""
    width = bias.shape[-1]
    return torch.nn.functional.pad(bias, (0, -width % 8))[..., :width]
