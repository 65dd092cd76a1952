"""Ink: which patches of a page show anything but paper, judged from their own pixels alone.

Further axis names: rows and columns of patches, whatever their numbers.
"""

import math

import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from shirg.tokens import DualScaleTokens, TokenSet, patches_below

LEAST_SHARE = 1 / 16
"""Of the widest span on the page: less is a tint, a shadow or the ringing of a compressed edge."""
ROUNDING = 2.0
"""Levels of 255 that rounding alone may leave on paper."""
FAINTEST, FAINT = 0.02, 0.1
"""Shares of the page's patches, from the blankest on, whose spans are compared to find its noise."""
ALIKE = 1.2
"""Spans of noise differ by no more than this factor between the two shares; those of pictures and print do."""
ABOVE_NOISE = 1.6
"""A patch shows more than noise if its span is so many times that of the noise."""
STANDS_OUT = 3
"""Print spans at least so many times as much as the noise that it can be read in."""


def color_spans(
    pixels: UInt8[Tensor, "batch 3 height width"] | Float[Tensor, "batch 3 height width"], *, patch_size: int
) -> Float32[Tensor, "batch rows columns"]:
    """How far the colors of each patch reach, in levels: the largest of the three channels' spans.

    A span is the highest less the lowest value, once the plane that fits the patch best is taken away, so that a shadow
    has none. It is large for one thin stroke in a corner, where a standard deviation would be small, and sees a color
    that is as light as its paper, which luma would miss.

    Args:
        pixels: red, green, blue from 0 to 255.

    Raises:
        ValueError: if the patches do not tile the image.
    """
    height, width = pixels.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(f"patches of {patch_size} pixels do not tile an image of {width} x {height}")
    patches = pixels.float().unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size)).transpose(3, 4).flatten(4)
    place = torch.arange(patch_size, device=pixels.device) - (patch_size - 1) / 2
    ramp = place / (patch_size * place.square().sum()).clamp(min=1.0).sqrt()
    # The two slopes of a plane are orthogonal on a square of pixels. Products of matrices would round to 16 bits where
    # the caller trains so.
    for slope in (ramp.repeat(patch_size), ramp.repeat_interleave(patch_size)):
        patches = patches - (patches * slope).sum(dim=-1, keepdim=True) * slope
    return (patches.amax(dim=-1) - patches.amin(dim=-1)).amax(dim=1)


def find_ink(
    spans: Float32[Tensor, "batch patches"], candidates: Bool[Tensor, "batch patches"]
) -> Bool[Tensor, "batch patches"]:
    """True at the candidates that show more than paper, by a threshold that each page sets for itself.

    It is the highest of three: a share of the page's widest span, so that faint print counts on a faint page; the span
    of its noise with some room; what rounding leaves. Noise is known by being the same everywhere, and far less than
    the widest span: the page has some if its blankest patches are alike. So an empty page has no ink, and one of noise
    or texture alone, where paper cannot be told from ink, has nothing else.

    Nothing here waits for the device, and no page depends on its batch.
    """
    count = candidates.sum(dim=1, keepdim=True)
    ranked = spans.masked_fill(~candidates, math.inf).sort(dim=1).values
    faintest, faint = (
        ranked.gather(1, (share * count).long().clamp(max=spans.shape[1] - 1)) for share in (FAINTEST, FAINT)
    )
    widest = spans.masked_fill(~candidates, 0.0).amax(dim=1, keepdim=True)
    noisy = (faint <= ALIKE * faintest) & (STANDS_OUT * faint <= widest)
    threshold = torch.maximum(LEAST_SHARE * widest, ABOVE_NOISE * faint * noisy).clamp(min=ROUNDING)
    return candidates & (spans > threshold)


def blank_share(dual: DualScaleTokens, tokens: TokenSet) -> Float32[Tensor, "batch"] | None:
    """The share of each image's tokens with no inked patch below them; None where nobody has looked for ink.

    A token lies over every patch that shares an area with its box, so one that is averaged from a cell of the page is
    blank if all of the cell is.
    """
    if dual.inked is None:
        return None
    inked = (patches_below(tokens, dual.boxes) & dual.inked[..., None]).any(dim=1)
    places = torch.arange(inked.shape[1], device=inked.device)
    lengths = torch.tensor(tokens.lengths, device=inked.device)[:, None]
    return ((places < lengths) & ~inked).sum(dim=1) / lengths[:, 0].clamp(min=1)
