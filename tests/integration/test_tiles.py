"""Tiles: one page of several views, with every patch at its place on the page and the same number of tokens."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from lavida_shirg_integration import apply_shirg_x
from llava.inference.heatmap import draw_heatmap
from llava.inference.session import Session
from llava.mm_utils import page_views, process_images
from llava.serve.select import describe
from shirg import visualize
from shirg.budget import BudgetHead, page_maps, patch_entropy
from shirg.tiling import PageViews
from tests.integration_helpers import DECODING, GRID, IMAGES, SMALL, answer, ask, question, views_and_sizes
from tests.model.test_parity import block_image

SIDE = GRID * 14
MIXED = [block_image(100, 90, 4), block_image(350, 340, 5), block_image(180, 520, 6), block_image(340, 350, 7)]
"""With ``auto``: one view, 2 x 2, 3 x 1, and 2 x 2 again."""


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("tiling", [(1, 1), (2, 3), (3, 1)])
def test_views_are_the_page_cut_into_squares(patchable, tiling, pad):
    rows, columns = tiling
    page = block_image(173, 311, 1)
    views = page_views(page, patchable[2], PageViews(side=SIDE, pad=pad, tiles=tiling))
    assert views.shape == (rows * columns, 3, SIDE, SIDE)
    if pad:
        wide, high = max(173, math.ceil(311 * columns / rows)), max(311, math.ceil(173 * rows / columns))
        ground = Image.new("RGB", (wide, high), (127, 127, 127))
        ground.paste(page, ((wide - 173) // 2, (high - 311) // 2))
        page = ground
    whole = patchable[2].preprocess(page, size=(rows * SIDE, columns * SIDE))["pixel_values"][0]
    for number, view in enumerate(views):
        top, left = number // columns * SIDE, number % columns * SIDE
        assert torch.equal(view, whole[:, top : top + SIDE, left : left + SIDE])


@pytest.mark.parametrize("row", [0, 11, 12, 23])
@pytest.mark.parametrize("column", [2, 11, 24, 35])
def test_a_planted_patch_comes_out_at_its_place_on_the_page(patchable, model, row, column):
    """A black patch on a page of 24 x 36 patches, in 2 x 3 views of 12 x 12."""
    pixels = np.full((2 * SIDE, 3 * SIDE, 3), 255, dtype=np.uint8)
    pixels[row * 14 : row * 14 + 14, column * 14 : column * 14 + 14] = 0
    page, place = Image.fromarray(pixels), row * 36 + column
    with apply_shirg_x(
        model, SMALL.replace(tiles="2x3", merge=False, center_weight=0.0, neighbor_weight=0.0)
    ) as handle:
        views, sizes = views_and_sizes(patchable, model, [page])
        dark = [number for number, view in enumerate(views[0]) if view.min() < 0]
        assert dark == [row // 12 * 3 + column // 12]
        pages = handle.encode_pages(views, sizes, budget=1)
        alone = model.get_vision_tower()(views[0][dark[0]][None])[0, row % 12 * 12 + column % 12]
        assert_close(pages.dual.detail[0, place], alone, atol=1e-5, rtol=0)
        similarity = torch.zeros(1, 864)
        similarity[0, place] = 1.0
        prefix = handle.select_tokens(pages, [question(patchable, "Where?")], similarity=similarity)
    x, y, h, w = prefix.boxes[0][-1].tolist()
    assert (x, y, h, w) == pytest.approx(((column + 0.5) / 36, (row + 0.5) / 24, 1 / 24, 1 / 36))


@pytest.mark.parametrize("resize", ["stretch", "pad"])
@pytest.mark.parametrize("tiles", [1, "2x2", "1x3", "3x2", "auto"])
def test_boxes_tile_the_page_and_the_scaffold_is_its_mean(patchable, model, tiles, resize):
    with apply_shirg_x(model, SMALL.replace(tiles=tiles, resize=resize, budgets=(13,))) as handle, torch.no_grad():
        views, sizes = views_and_sizes(patchable, model, MIXED)
        dual = handle.encode_pages(views, sizes).dual
    assert_close(dual.boxes[..., 2:].prod(-1).sum(1), torch.ones(4))
    assert_close(dual.scaffold_boxes[..., 2:].prod(-1).sum(1), torch.ones(4))
    for image, (rows, columns) in enumerate(dual.grids):
        x, y, h, w = dual.boxes[image, : rows * columns].reshape(rows, columns, 4).unbind(-1)
        # Each row of boxes ends where the next begins, and so do columns: no gap, no overlap.
        # Patches of nothing but padding have no extent, and lie on the page's edge.
        assert_close((y + h / 2)[:-1][(h[:-1] > 0) & (h[1:] > 0)], (y - h / 2)[1:][(h[:-1] > 0) & (h[1:] > 0)])
        across = (w[:, :-1] > 0) & (w[:, 1:] > 0)
        assert_close((x + w / 2)[:, :-1][across], (x - w / 2)[:, 1:][across])
        assert not dual.candidates[image, rows * columns :].any()
        for cell in range(9):
            inside = [
                row * columns + column
                for row in range(rows)
                for column in range(columns)
                if (row * 3 // rows, column * 3 // columns) == divmod(cell, 3)
            ]
            assert_close(dual.scaffold[image, cell], dual.detail[image, inside].mean(0), atol=1e-5, rtol=0)


def test_auto_with_a_small_picture_is_one_view_to_the_bit(patchable, model):
    asked = [question(patchable, "Total?")] * 2
    images = [IMAGES[0], MIXED[0]]
    found = []
    for tiles in (1, "auto", "1x1"):
        with apply_shirg_x(model, SMALL.replace(tiles=tiles)) as handle:
            views, sizes = views_and_sizes(patchable, model, images)
            pages = handle.encode_pages(views, sizes)
            found.append((views, pages, handle.select_tokens(pages, asked)))
    for views, pages, prefix in found[1:]:
        for one, other in (
            (found[0][0], views),
            (found[0][2].sequences, prefix.sequences),
            (found[0][2].boxes, prefix.boxes),
            ([found[0][1].dual.detail, found[0][1].dual.scaffold], [pages.dual.detail, pages.dual.scaffold]),
        ):
            assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


@pytest.mark.parametrize("similarity", ["projected", "attention", "siglip", "learned"])
@pytest.mark.parametrize("budget", ["auto", 43])
def test_pages_of_several_tilings_do_not_depend_on_each_other(patchable, model, similarity, budget):
    config = SMALL.replace(tiles="auto", similarity=similarity, budgets=(29, 43, 61), budget=budget)
    asked = [question(patchable, text) for text in ("Total?", "Which has a star?", "Who?", "When was it?")]
    with apply_shirg_x(model, config, tokenizer=patchable[0]) as handle, torch.no_grad():
        model.shirg_x.budget_head.out.weight.normal_(std=3.0)
        model.shirg_x.coordinates.coord_out.weight.normal_(std=0.3)
        views, sizes = views_and_sizes(patchable, model, MIXED)
        assert [len(view) for view in views] == [1, 4, 3, 4]
        pages = handle.encode_pages(views, sizes)
        assert pages.dual.grids == ((12, 12), (24, 24), (36, 12), (24, 24))
        assert pages.candidate_counts == (144, 576, 432, 576)
        scores = handle.similarity(pages, asked)
        prefix = handle.select_tokens(pages, asked, similarity=scores)
        for image, count in enumerate(pages.candidate_counts):
            alone = handle.encode_pages(views[image : image + 1], sizes[image : image + 1])
            assert alone.budgets == pages.budgets[image : image + 1]
            assert_close(alone.dual.detail[0], pages.dual.detail[image, :count], atol=1e-5, rtol=0)
            own = handle.similarity(alone, asked[image : image + 1])
            assert_close(own[0], scores[image, :count], atol=1e-5, rtol=0)
            # What is decided from the same numbers is the same to the bit.
            row = pages.gather([image])
            single = handle.select_tokens(row, asked[image : image + 1], similarity=scores[image : image + 1, :count])
            length = pages.budgets[image]
            assert torch.equal(single.selection.kept[0], prefix.selection.kept[image, :length])
            assert torch.equal(single.boxes[0], prefix.boxes[image])
            assert len(prefix.sequences[image]) == length + 9
            assert_close(single.sequences[0], prefix.sequences[image], atol=1e-5, rtol=0)


def test_the_budget_head_sees_the_page_as_if_it_were_one_picture():
    head = BudgetHead()
    torch.nn.init.normal_(head.out.weight)
    page = torch.randint(0, 256, (1, 3, 2 * 56, 3 * 56), dtype=torch.uint8)
    small = torch.randint(0, 256, (1, 3, 56, 56), dtype=torch.uint8)
    tiles = page[0].unflatten(2, (3, -1)).unflatten(1, (2, -1)).permute(1, 3, 0, 2, 4).flatten(0, 1)
    entropy = patch_entropy(torch.cat([tiles, small]), patch_size=14)
    logits = head(page_maps(entropy, [(8, 12), (4, 4)]))
    for row, picture in zip(logits, (page, small), strict=True):
        assert_close(row, head(patch_entropy(picture, patch_size=14))[0])


def test_the_patch_with_tiles_changes_answers_and_undoes_itself(patchable, model):
    before, config = answer(patchable, model), model.config
    with apply_shirg_x(model, SMALL.replace(tiles="2x1")) as handle:
        views, sizes = views_and_sizes(patchable, model, IMAGES[:1])
        assert views[0].shape == (2, 3, SIDE, SIDE)
        sequence = model.encode_images(views, sizes, [question(patchable, "What is the total?")])[0]
        assert len(sequence) == 9 + handle.config.budgets[-1]
        tiled = model.generate(ask(patchable, "What is the total?"), views, sizes, **DECODING)
        assert tiled.shape == before.shape
    assert model.config is config
    assert not hasattr(config, "image_view")
    assert torch.equal(answer(patchable, model), before)


def test_views_of_another_tiling_are_refused_with_the_mend(patchable, model):
    with apply_shirg_x(model, SMALL):
        single, sizes = views_and_sizes(patchable, model, MIXED[1:2])
    with apply_shirg_x(model, SMALL.replace(tiles="auto")) as handle:
        with pytest.raises(ValueError, match=r"image 0 has views of shape \(1, .* wants \(4, 3, 168, 168\).*own size"):
            handle.encode_pages(single, sizes)
        views, _ = views_and_sizes(patchable, model, MIXED[1:2])
        with pytest.raises(ValueError, match="call process_images with model"):
            handle.encode_pages(views, [(90, 90)])


@pytest.mark.parametrize(("tiles", "resize"), [("2x3", "stretch"), ("3x1", "pad"), ("auto", "pad")])
def test_the_heat_map_and_the_counts_agree(quick, tiles, resize):
    config = SMALL.replace(tiles=tiles, resize=resize, budgets=(29,), budget=29)
    session = Session.load(quick, shirg=config, device="cpu")
    page = session.encode(block_image(200, 530, 3))
    prefix = session.select(page, "What is the total?")
    counts = describe(page, prefix, config)
    assert counts["kept"] == 29
    assert counts["candidates"] == page.encoded.candidate_counts[0] == int(page.encoded.dual.candidates.sum())
    assert counts["kept"] + counts["merged"] + counts["dropped"] == counts["candidates"]
    decision = visualize._read_decision(prefix.shirg.selection, page.image.size, resize=resize, index=0)
    rows, columns = page.encoded.dual.grids[0]
    assert decision.kept.shape == (rows, columns)
    assert int(decision.candidates.sum()) == counts["candidates"]
    assert int(decision.kept.sum()) == counts["kept_patches"]
    assert int(decision.merged.sum()) == counts["merged"]
    boxes, inside = page.encoded.dual.boxes[0].numpy(), decision.candidates.flatten()
    # Edges of what is drawn are those of the boxes that the model is told.
    x, y = np.meshgrid(*((edges[1:] + edges[:-1]) / 2 for edges in (decision.x_edges, decision.y_edges)))
    np.testing.assert_allclose(np.stack([x, y], -1).reshape(-1, 2)[inside], boxes[inside, :2], atol=1e-6)
    assert draw_heatmap(page.image, prefix, config, question="What is the total?").mode == "RGB"


@pytest.mark.parametrize(("tiles", "least"), [(1, (0, 0)), ("3x5", (5 * SIDE, 3 * SIDE)), ("auto", (0, 0))])
def test_a_pdf_is_rendered_as_large_as_its_tiles(quick, tmp_path, tiles, least):
    Image.new("RGB", (300, 100), "white").save(tmp_path / "strip.pdf")
    session = Session.load(quick, shirg=SMALL.replace(tiles=tiles, max_tiles=12), device="cpu")
    page = session.encode(tmp_path / "strip.pdf")
    width, height = page.image.size
    assert width >= max(2000, least[0])
    assert height >= least[1] - 1
    wanted = session.model.config.image_view.tiling((30_000, 10_000))
    assert page.encoded.dual.grids == (tuple(count * GRID for count in wanted),)
    view = process_images([page.image], session.image_processor, session.model.config)[0]
    assert len(view) == math.prod(wanted)
