"""Peers that judge every patch by itself: at random, by place, or by one number."""

import torch
from jaxtyping import Float
from torch import Tensor

from shirg.baselines.gathering import candidates_first, gather_patches, highest
from shirg.tokens import DualScaleTokens, TokenSet


def random_patches(dual: DualScaleTokens, *, keep: int, generator: torch.Generator) -> TokenSet:
    """``keep`` patches of each image, every subset of the candidates as likely as any other.

    The row that decides whether choosing is worth anything. What an image gets depends on the generator's state, so on
    its place in the batch as well.
    """
    draws = torch.rand(dual.candidates.shape, generator=generator, device=generator.device)
    return highest(dual, draws.to(dual.detail.device), keep=keep)


def uniform_stride(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """``keep`` candidates at equal steps through the raster order, half a step from its ends.

    Where the step divides the grid these are whole columns, as with every sampling along one axis.
    """
    order = candidates_first(dual.candidates)
    count = dual.candidates.sum(dim=1, keepdim=True)
    # Whole numbers, for float steps can land on one patch twice.
    step = (2 * torch.arange(keep, device=count.device) + 1) * count // (2 * keep)
    return gather_patches(dual, order.gather(1, step))


def feature_norm(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """The ``keep`` patches with the longest feature vectors, which vision transformers give to what stands out."""
    return highest(dual, dual.own_detail.float().norm(dim=2), keep=keep)


def attention(dual: DualScaleTokens, *, keep: int) -> TokenSet:
    """The ``keep`` patches that receive most attention in the vision tower.

    The salient part of VisPruner (arXiv 2412.01818) and VisionZip (arXiv 2412.04467), which read the layer whose output
    the projector gets (``attention_layer: selected``). As they do for encoders without a class token, attention is
    averaged over all patches that pay it. Their second part is left out: VisPruner keeps
    some tokens for being unlike the rest, VisionZip merges the rest into a few; ``scope`` and ``tome`` stand for that.
    """
    assert dual.attention_received is not None
    return highest(dual, dual.attention_received, keep=keep)


def ink(dual: DualScaleTokens, *, keep: int, pixels: Float[Tensor, "batch 3 height width"]) -> TokenSet:
    """The ``keep`` patches whose gray levels vary most: print and edges, found without a network.

    Gray is ITU-R BT.601's luma; any scale of the pixels that is the same for the three colors gives the same order.

    Raises:
        ValueError: if the pixels are not the page that square patches divide into its grid.
    """
    height, width = pixels.shape[-2:]
    rows, columns = dual.grids[0]
    if height % rows or height * columns != width * rows:
        raise ValueError(
            f"pixels must be the page behind a grid of {rows} x {columns}, got {width} x {height}; "
            "pass what the tower encoded, its views joined"
        )
    red, green, blue = pixels.float().unbind(1)
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    patches = gray.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).transpose(2, 3)
    return highest(dual, patches.flatten(3).flatten(1, 2).var(dim=2, correction=0), keep=keep)
