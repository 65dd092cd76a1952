"""Views for the peers' tests: random features on a small grid, with padding where it is asked for."""

import torch

from shirg.baselines import BASELINES
from shirg.coordinates import grid_boxes, padded_page_boxes
from shirg.scaffold import pool_scaffold
from shirg.tokens import DualScaleTokens, TokenSet

GRID, FACTOR, DIM, BATCH = 6, 2, 5, 3
CELLS = (GRID // FACTOR) ** 2


def view(seed: int = 0, *, batch: int = BATCH, padded: bool = False, dtype: torch.dtype = torch.float32):
    """What the tower sees in random pages; padded ones are of several shapes."""
    generator = torch.Generator().manual_seed(seed)
    detail = torch.randn(batch, GRID**2, DIM, generator=generator).to(dtype)
    sizes = [(100, 100), (60, 100), (100, 30)][:batch] if padded else [(7, 7)] * batch
    boxes, candidates = padded_page_boxes([(GRID, GRID)] * batch, sizes, shapes=[(1, 1)] * batch)
    cells = (GRID // FACTOR, GRID // FACTOR)
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(GRID, GRID), cells=cells),
        boxes=boxes,
        scaffold_boxes=padded_page_boxes([cells] * batch, sizes, shapes=[(1, 1)] * batch)[0],
        candidates=candidates,
        grids=((GRID, GRID),) * batch,
        attention_received=torch.rand(batch, GRID**2, generator=generator),
    )


def inputs(seed: int = 0, *, batch: int = BATCH):
    """Everything that any peer may read beside the view."""
    generator = torch.Generator().manual_seed(seed + 1000)
    return {
        "pixels": torch.rand(batch, 3, GRID * 4, GRID * 4, generator=generator),
        "similarity": torch.randn(batch, GRID**2, generator=generator),
        "generator": torch.Generator().manual_seed(seed),
    }


def image_of(dual: DualScaleTokens, image: int) -> DualScaleTokens:
    """One image of a batch, alone."""
    one = slice(image, image + 1)
    assert dual.attention_received is not None
    return DualScaleTokens(
        detail=dual.detail[one],
        scaffold=dual.scaffold[one],
        boxes=dual.boxes[one],
        scaffold_boxes=dual.scaffold_boxes[one],
        candidates=dual.candidates[one],
        grids=dual.grids[one],
        attention_received=dual.attention_received[one],
    )


def run(name: str, dual: DualScaleTokens, total: int, **given) -> TokenSet:
    """The named peer's tokens, given all that any may need."""
    return BASELINES[name](dual, total=total, **{**inputs(batch=dual.detail.shape[0]), **given})


def chosen(tokens: TokenSet, dual: DualScaleTokens) -> list[list[int]]:
    """Which patches were kept, found by their features; asserts that each is one patch, untouched."""
    rows = []
    for image, features in enumerate(tokens.unpad()):
        same = (features[:, None] == dual.detail[image][None]).all(dim=2)
        assert (same.sum(dim=1) == 1).all()
        rows.append(same.float().argmax(dim=1).tolist())
        torch.testing.assert_close(tokens.boxes[image, : len(features)], dual.boxes[image, rows[-1]], rtol=0, atol=0)
    return rows


def square(**features) -> DualScaleTokens:
    """One stretched page with these features, or these and this attention."""
    detail = features["detail"]
    grid = round(detail.shape[1] ** 0.5)
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(grid, grid), cells=(1, 1)),
        boxes=grid_boxes((grid, grid))[None],
        scaffold_boxes=grid_boxes((1, 1))[None],
        candidates=features.get("candidates", torch.ones(1, grid**2, dtype=torch.bool)),
        grids=((grid, grid),),
        attention_received=features.get("attention"),
    )
