"""Keys and values of a frozen prefix, with room for the answer behind them.

Axis names: batch (samples), heads, slots (prefix + answer positions), head_dim.
"""

from collections.abc import Sequence
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
    """Slots for a prefix; shorter ones leave slots that ``bias`` hides."""
    prefix_lengths: Tensor
    """(batch,) int64: real prefix positions of each sample."""
    bias: Tensor | None
    """(batch, 1, 1, slots) to add to attention scores, -inf on padding, in the keys' dtype; None if nothing is
    padded. Made once, since a boolean mask would be turned into this in every layer of every step."""
    before: Tensor | None = None
    """(batch, dim) final hidden state of each prompt's last position, where the first answer token is read from it."""

    @classmethod
    def allocate(
        cls,
        shape: tuple[int, int, int],
        *,
        num_layers: int,
        prefix_length: int,
        num_answer: int,
        padded: bool,
        like: Tensor,
    ) -> "KVCache":
        """Buffers of shape (batch, heads, head_dim) with ``prefix_length`` and ``num_answer`` slots, on the device of
        ``like`` and in its dtype, to be filled from ``begin`` on.

        Args:
            padded: whether a prefix may leave slots, which needs a bias.
        """
        batch, heads, head_dim = shape
        slots = prefix_length + num_answer
        sizes = (batch, heads, slots, head_dim)
        return cls(
            keys=tuple(like.new_empty(sizes) for _ in range(num_layers)),
            values=tuple(like.new_empty(sizes) for _ in range(num_layers)),
            prefix_length=prefix_length,
            prefix_lengths=torch.zeros(batch, dtype=torch.int64, device=like.device),
            bias=_aligned(like.new_zeros(batch, 1, 1, slots)) if padded else None,
        )

    def begin(self, lengths: Sequence[int]) -> None:
        """Make room for prefixes of these lengths: what an earlier, longer one has left behind them counts no more."""
        self.prefix_lengths.copy_(torch.tensor(list(lengths)))
        if self.bias is None:
            return
        slots = torch.arange(self.bias.shape[-1], device=self.bias.device)
        padding = (slots >= self.prefix_lengths[:, None]) & (slots < self.prefix_length)
        self.bias.zero_().masked_fill_(padding[:, None, None], -torch.inf)
        if (longest := max(lengths)) < self.prefix_length:
            # Hidden slots weigh nothing, but nothing times an infinity that is left there would be no number.
            torch._foreach_zero_([kept[:, :, longest : self.prefix_length] for kept in (*self.keys, *self.values)])

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
