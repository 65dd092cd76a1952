"""Views joined to pages, and pages of different grids in one batch.

A page's patches stand in raster order of its own grid, whatever views they were seen in. Pages of one batch may have
different grids: shorter rows then end in padding. What needs a grid works on the pages that share one (``group_alike``)
and puts their rows ``together`` again, so that no page depends on the grids beside it.

Axis names: views (tiles of all pages, row by row, page behind page), seen (patches of a view), rest (whatever follows).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from shirg.tiling import Grid
from shirg.transfer import to_device


def group_alike(grids: Sequence[Grid]) -> dict[Grid, list[int]]:
    """The places of each grid, in order of appearance."""
    places: dict[Grid, list[int]] = {}
    for place, grid in enumerate(grids):
        places.setdefault(grid, []).append(place)
    return places


def together(
    parts: Sequence[Shaped[Tensor, "_ _ *rest"]], places: Sequence[Sequence[int]], *, fill: int | float = 0
) -> Shaped[Tensor, "batch _ *rest"]:
    """The rows of several groups as one batch, each at its place; shorter rows end in ``fill``."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.shape[1] for part in parts)
    rows = []
    for part in parts:
        padding = part.new_full((len(part), longest - part.shape[1], *part.shape[2:]), fill)
        rows.append(torch.cat([part, padding], dim=1))
    order = torch.tensor([place for group in places for place in group]).argsort()
    return torch.cat(rows)[to_device(order, parts[0].device)]


def join_views(
    values: Shaped[Tensor, "views seen *rest"], grids: Sequence[Grid], *, view: Grid
) -> Shaped[Tensor, "batch patches *rest"]:
    """What is known of the patches of every view, as one map of each page, in raster order of the page.

    Args:
        grids: rows and columns of patches of each page.
        view: the same of a view.

    Raises:
        ValueError: if the views do not tile the pages.
    """
    if all(grid == view for grid in grids) and len(values) == len(grids):
        return values
    tilings = _tilings(grids, view, len(values))
    groups = group_alike(tilings)
    parts = []
    for (rows, columns), part in zip(groups, _take_views(values, tilings, groups), strict=True):
        # (pages, rows, columns, high, wide, rest) to (pages, rows, high, columns, wide, rest)
        squares = part.unflatten(1, view).unflatten(0, (-1, rows, columns)).transpose(2, 3)
        parts.append(squares.flatten(1, 4))
    return together(parts, list(groups.values()))


def split_views(
    values: Shaped[Tensor, "batch patches *rest"], grids: Sequence[Grid], *, view: Grid
) -> Shaped[Tensor, "views seen *rest"]:
    """The other way: what is known of every page's patches, view by view."""
    if all(grid == view for grid in grids):
        return values
    tilings = _tilings(grids, view)
    parts = []
    for page, (rows, columns) in zip(values, tilings, strict=True):
        square = page[: rows * columns * math.prod(view)].unflatten(0, (rows, view[0], columns, view[1]))
        parts.append(square.transpose(1, 2).flatten(2, 3).flatten(0, 1))
    return torch.cat(parts)


def _tilings(grids: Sequence[Grid], view: Grid, num_views: int | None = None) -> list[Grid]:
    tilings = [(rows // view[0], columns // view[1]) for rows, columns in grids]
    exact = all(
        (rows * view[0], columns * view[1]) == grid for (rows, columns), grid in zip(tilings, grids, strict=True)
    )
    wanted = sum(map(math.prod, tilings))
    if not exact or num_views not in (None, wanted):
        shown = wanted if num_views is None else num_views
        raise ValueError(f"{shown} views of {view[0]} x {view[1]} patches do not tile pages of {list(grids)}")
    return tilings


def _take_views(values: Tensor, tilings: Sequence[Grid], groups: dict[Grid, list[int]]) -> list[Tensor]:
    """The views of each group's pages, page behind page."""
    if len(groups) == 1:
        return [values]
    counts = [math.prod(tiling) for tiling in tilings]
    starts = [sum(counts[:page]) for page in range(len(counts))]
    taken = []
    for pages in groups.values():
        index = [starts[page] + number for page in pages for number in range(counts[page])]
        taken.append(values[to_device(torch.tensor(index), values.device)])
    return taken
