"""A convolutional way from pixels to patches, for towers that are trained from nothing.

A plain patch embedding has to learn every letter anew at each of the 14 x 14 places where it may begin in a patch.
Small convolutions in front of it see the same letter the same way wherever it stands (Xiao and others, Early
Convolutions Help Transformers See Better, arXiv 2106.14881). Released towers have none.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


class ConvStem(nn.Sequential):
    """(batch, channels, height, width) pixels to (batch, dim, rows, columns) patches.

    The first convolution halves the picture, those behind it keep its size, and the last one makes patches.

    Args:
        widths: channels of each convolution before the last; at least one.
        overlap: pixels of the halved picture that a patch sees beyond its border, on each side: half a letter, so that
            one that stands across the border is seen whole.

    Raises:
        ValueError: if there is no width, or a patch does not halve.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int, patch_size: int, overlap: int = 0) -> None:
        if not widths or patch_size % 2:
            raise ValueError(f"a stem needs widths and patches of an even size, got {list(widths)} and {patch_size}")
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), nn.ReLU()]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU()]
        side = patch_size // 2
        super().__init__(*layers, nn.Conv2d(widths[-1], dim, side + 2 * overlap, stride=side, padding=overlap))


def stem_flops(
    channels: int, widths: Sequence[int], dim: int, patch_size: int, patches: int, overlap: int = 0
) -> float:
    """Arithmetic of a stem on so many patches."""
    half = (patch_size // 2) ** 2
    per_pixel = 16.0 * channels * widths[0] + sum(9.0 * a * b for a, b in pairwise(widths))
    seen = (patch_size // 2 + 2 * overlap) ** 2
    return 2.0 * patches * (half * per_pixel + seen * widths[-1] * dim)
