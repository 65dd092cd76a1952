"""The values that flow between the stages: visual tokens together with where they came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from shirg.joining import group_alike
from shirg.tiling import Grid
from shirg.transfer import to_device

GATHERED = ("word", "row", "column")
"""What a vision tower may gather behind the channels of a patch: its own word, and the labels of its row and its
column, each in the space of the language model's words."""


@dataclass(frozen=True, kw_only=True)
class TokenSet:
    """The detail tokens that survive selection, one row per image, in raster order.

    Images of one batch may keep different numbers of tokens, so shorter rows end in zeros; ``lengths`` are host
    numbers, which lets a prompt be assembled without waiting for the device.

    Raises:
        ValueError: if ``lengths`` does not give every image a number between 0 and the width of the rows.
    """

    features: Float[Tensor, "batch tokens dim"]
    """Token features in the dtype of the vision tower."""
    boxes: Float32[Tensor, "batch tokens 4"]
    """(x, y, h, w): area-weighted centroid, and extent of the union, each in [0, 1] of the original image."""
    areas: Float32[Tensor, "batch tokens"]
    """How many patches each token stands for."""
    lengths: tuple[int, ...]
    """Real tokens of each image; the rows beyond are padding."""

    def __post_init__(self) -> None:
        batch, tokens = self.features.shape[:2]
        if len(self.lengths) != batch or not all(0 <= length <= tokens for length in self.lengths):
            raise ValueError(
                f"lengths must hold one number from 0 to {tokens} for each of {batch} images, got {self.lengths}"
            )

    def unpad(self) -> list[Float[Tensor, "_ dim"]]:
        """The features of each image without its padding, as views."""
        return [row[:length] for row, length in zip(self.features, self.lengths, strict=True)]


@dataclass(frozen=True, kw_only=True)
class DualScaleTokens:
    """What the vision tower sees in a batch of pages: sharp patches, and the coarse scaffold over them.

    Pages of one batch may have different grids; the rows of those with fewer patches end in padding, which is never a
    candidate. The optional inputs belong to single similarity sources; the tower fills in only what the configured one
    reads.

    Raises:
        ValueError: if the grids are not those of the pages.
    """

    detail: Float[Tensor, "batch patches dim"]
    """Patch features in raster order of the page."""
    scaffold: Float[Tensor, "batch cells dim"]
    """Mean of each block of patches, in raster order."""
    boxes: Float32[Tensor, "batch patches 4"]
    """(x, y, h, w) of every patch, in [0, 1] of the original image."""
    scaffold_boxes: Float32[Tensor, "batch cells 4"]
    """(x, y, h, w) of every scaffold cell."""
    candidates: Bool[Tensor, "batch patches"]
    """False for patches that show only padding, which are never selected."""
    grids: tuple[Grid, ...]
    """Rows and columns of patches of each page."""
    inked: Bool[Tensor, "batch patches"] | None = None
    """True for patches that show more than paper; None where nobody has looked."""
    own_dim: int | None = None
    """Channels, from the first, by which patches are alike; all of them when not given. What stands behind them says
    what a patch belongs to, and is the same for all patches of a word."""
    attention_received: Float[Tensor, "batch patches"] | None = None
    """Mean attention each patch receives in a vision layer."""
    value_embeddings: Float[Tensor, "batch patches embedding"] | None = None
    """Patches sent through the pooling head's value path, comparable with SigLIP's text embeddings."""

    def __post_init__(self) -> None:
        batch, patches = self.detail.shape[:2]
        if len(self.grids) != batch or max(self.num_patches, default=0) != patches:
            raise ValueError(
                f"{batch} pages of {patches} patches need as many grids, the largest of so many, got {self.grids}"
            )

    @property
    def own_detail(self) -> Float[Tensor, "batch patches own"]:
        """The channels of ``detail`` by which patches are alike, without gradients."""
        return self.detail.detach()[..., : self.own_dim]

    @property
    def num_patches(self) -> tuple[int, ...]:
        """Of each page; what stands behind them in its row is padding."""
        return tuple(map(math.prod, self.grids))

    @property
    def cells(self) -> Grid:
        """Rows and columns of the scaffold, which is square in numbers whatever the page."""
        side = math.isqrt(self.scaffold.shape[1])
        return side, side

    def take(self, index: Sequence[int]) -> "DualScaleTokens":
        """The pages at ``index``, as often as they stand there, without padding that none of them needs."""
        rows = to_device(torch.tensor(list(index), dtype=torch.long), self.detail.device)
        grids = tuple(self.grids[place] for place in index)
        most = max(map(math.prod, grids), default=0)
        taken: dict[str, Any] = {"grids": grids}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                cut = most < value.shape[1] and not field.name.startswith("scaffold")
                taken[field.name] = value[rows, :most] if cut else value[rows]
        return replace(self, **taken)

    def alike(self) -> list[tuple[list[int], "DualScaleTokens"]]:
        """The pages by their grids: their places in the batch, and themselves without padding."""
        groups = group_alike(self.grids)
        if len(groups) == 1:
            return [(list(range(len(self.grids))), self)]
        return [(places, self.take(places)) for places in groups.values()]


def patches_below(tokens: TokenSet, boxes: Float32[Tensor, "batch patches 4"]) -> Bool[Tensor, "batch patches tokens"]:
    """True where a token lies over a patch: they share an area once the token's box, which spans all that it was made
    of, is put around its centroid. Tokens of padding lie over nothing.
    """
    places = torch.arange(tokens.features.shape[1], device=boxes.device)
    real = places < torch.tensor(tokens.lengths, device=boxes.device)[:, None]
    x, y, h, w = (part[:, None] for part in tokens.boxes.unbind(-1))
    px, py, ph, pw = (part[..., None] for part in boxes.unbind(-1))
    # (x, y) is a centroid, up to half a patch off the middle of a ragged union; a neighbor is a whole patch away.
    over = ((px - x).abs() < 0.499 * (w + pw)) & ((py - y).abs() < 0.499 * (h + ph))
    return over & real[:, None]
