"""Rotary position embedding (arXiv 2104.09864): the first half of a head's width is paired with the second.

Axis names: batch (samples), heads, length (positions), head_dim.
"""

import torch
from torch import Tensor

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of rotary angles, each (batch or 1, 1, length, head_dim) float32."""


def rotary_embedding(positions: Tensor, head_dim: int, theta: float) -> Rotary:
    """Cosine and sine of the rotary angles at ``positions`` (batch or 1, length).

    The angles are computed in float32: in bfloat16 neighboring positions beyond 256 would coincide.
    """
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[..., None].float() * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def apply_rotary(states: Tensor, rotary: Rotary) -> Tensor:
    """Rotate queries or keys (batch, heads, length, head_dim) by position, in float32; gives back their dtype."""
    cos, sin = rotary
    first, second = states.chunk(2, dim=-1)
    # Products with the float32 angles are float32, whatever the states are.
    return (states * cos + torch.cat([-second, first], dim=-1) * sin).to(states.dtype)
