"""Losses before they are divided: sums and counts, which processes add up first."""

from torch import Tensor

Parts = dict[str, tuple[Tensor, Tensor]]
"""Per loss, its sum (float32 scalar) and the number of things it sums over (whole scalar)."""
