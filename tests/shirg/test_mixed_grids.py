"""Pages of several grids in one batch: each is chosen from as if it were alone, to the bit."""

import pytest
import torch

from shirg.baselines import BASELINES
from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes, padded_page_boxes, page_boxes
from shirg.counts import count_patches
from shirg.joining import together
from shirg.scaffold import pool_scaffold
from shirg.shirg_selector import select
from shirg.tokens import DualScaleTokens

VIEW, CELLS, DIM = 6, (3, 3), 5
TILINGS = ((1, 1), (2, 1), (2, 3), (2, 1))
GRIDS = tuple((rows * VIEW, columns * VIEW) for rows, columns in TILINGS)
SIZES = ((50, 50), (30, 90), (90, 50), (60, 100))
CONFIG = ShirgXConfig(grid=VIEW, scaffold_factor=2, budgets=(7, 11, 18))
BUDGETS = (11, 18, 7, 11)


def pages(grids=GRIDS, sizes=SIZES, tilings=TILINGS, *, padded=False, seed=0):
    """Smooth enough for merges; what stands in a page's padding is nonsense that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    details = [torch.randn(1, r * c, DIM, generator=generator) * 0.2 + torch.ones(DIM) for r, c in grids]
    scaffolds = [pool_scaffold(each, grid=grid, cells=CELLS) for each, grid in zip(details, grids, strict=True)]
    boxes, candidates = padded_page_boxes(grids, sizes, shapes=tilings) if padded else page_boxes(grids)
    return DualScaleTokens(
        detail=together(details, [[place] for place in range(len(grids))], fill=float("inf")),
        scaffold=torch.cat(scaffolds),
        boxes=boxes,
        scaffold_boxes=grid_boxes(CELLS).expand(len(grids), -1, -1),
        candidates=candidates,
        grids=tuple(grids),
        attention_received=torch.rand(candidates.shape, generator=generator),
    )


def similarity_of(dual):
    return torch.rand(dual.candidates.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"merge": False}, {"neighbor": "mean"}, {"min_per_cell": 1, "budgets": (9, 18)}, {"resize": "pad"}],
)
def test_a_page_is_chosen_from_as_if_it_were_alone(changes):
    config = CONFIG.replace(**changes)
    dual = pages(padded=config.resize == "pad")
    similarity = similarity_of(dual)
    budgets = [18] * 4 if config.min_per_cell else BUDGETS
    tokens, selection = select(dual, similarity, config, budgets)
    assert tokens.lengths == selection.lengths == tuple(budgets)
    assert selection.grids == GRIDS
    for image, (grid, budget) in enumerate(zip(GRIDS, budgets, strict=True)):
        patches = grid[0] * grid[1]
        own = dual.take([image])
        assert own.detail.shape[1] == patches
        alone, single = select(own, similarity[image : image + 1, :patches], config, [budget])
        for name in ("features", "boxes", "areas"):
            assert torch.equal(getattr(tokens, name)[image, :budget], getattr(alone, name)[0]), name
            assert not getattr(tokens, name)[image, budget:].any()
        assert torch.equal(selection.kept[image, :budget], single.kept[0])
        assert bool((selection.kept[image, :budget].diff() > 0).all()), "raster order"
        assert (selection.kept[image, budget:] == -1).all()
        assert torch.equal(selection.assignment[image, :patches], single.assignment[0])
        assert torch.equal(selection.scores.total[image, :patches], single.scores.total[0])
        anchors = single.scores.anchor_index[0]
        assert torch.equal(selection.scores.anchor_index[image, : len(anchors)], anchors)
        count = int(dual.candidates[image].sum())
        assert count_patches(selection, candidates=count, index=image) == count_patches(single, candidates=count)


def test_merges_cross_the_borders_of_tiles():
    """Two views of 6 x 6 above each other: patches 30 to 35 end the first, 36 to 41 begin the second."""
    dual = pages([(12, 6)], [(50, 100)], [(2, 1)])
    detail = torch.randn(1, 72, DIM, generator=torch.Generator().manual_seed(3))
    detail[0, 36] = 2 * detail[0, 30]
    config = CONFIG.replace(merge_epsilon=10.0, merge_cosine=0.999)
    _, selection = select(DualScaleTokens(**vars(dual) | {"detail": detail}), torch.rand(1, 72), config, [11])
    moved = (selection.assignment[0] != torch.arange(72)).nonzero().flatten().tolist()
    assert moved in ([36], [30])
    assert selection.assignment[0, moved[0]] == 66 - moved[0]


def test_taken_pages_carry_no_padding_that_none_of_them_needs():
    dual = pages()
    small = dual.take([1, 3, 1])
    assert small.grids == (GRIDS[1], GRIDS[3], GRIDS[1])
    assert small.detail.shape == (3, 72, DIM)
    assert small.scaffold.shape == (3, 9, DIM)
    assert torch.equal(small.attention_received, dual.attention_received[[1, 3, 1], :72])
    assert [places for places, _ in dual.alike()] == [[0], [1, 3], [2]]
    ((places, same),) = small.alike()
    assert places == [0, 1, 2]
    assert same is small


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"ink"}))
def test_peers_spend_exactly_their_total_on_a_page_of_any_grid(name):
    dual = pages().take([2])
    baseline = BASELINES[name]
    tokens = baseline(dual, total=25, similarity=similarity_of(dual), generator=torch.Generator().manual_seed(0))
    wanted = {"all_patches": 216, "scaffold_only": 0, "mean_pooled": 25}.get(name, 25 - 9 * baseline.scaffold)
    assert tokens.lengths == (wanted,)


def test_peers_take_pages_of_one_grid_at_a_time():
    with pytest.raises(ValueError, match="one grid at a time"):
        BASELINES["uniform_stride"](pages(), total=25)


def test_the_ink_peer_reads_the_whole_page():
    dual = pages().take([2])
    pixels = torch.zeros(1, 3, 12 * 4, 18 * 4)
    pixels[0, :, 5 * 4 + 1, 13 * 4 + 2] = 1.0  # the patch in row 5 and column 13
    tokens = BASELINES["ink"](dual, total=1, pixels=pixels)
    assert torch.equal(tokens.boxes[0, 0], dual.boxes[0, 5 * 18 + 13])
    with pytest.raises(ValueError, match="page behind a grid of 12 x 18"):
        BASELINES["ink"](dual, total=1, pixels=torch.zeros(1, 3, 48, 48))
