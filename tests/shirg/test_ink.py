"""Ink on any paper: against a slow twin, on pages of every kind, and never behind blank paper."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from shirg.config import ShirgXConfig
from shirg.coordinates import grid_boxes
from shirg.ink import (
    ABOVE_NOISE,
    ALIKE,
    FAINT,
    FAINTEST,
    LEAST_SHARE,
    ROUNDING,
    STANDS_OUT,
    blank_share,
    color_spans,
    find_ink,
)
from shirg.scaffold import pool_scaffold
from shirg.shirg_selector import select
from shirg.tokens import DualScaleTokens, TokenSet

PATCH, ROWS, COLUMNS = 14, 17, 23


def spans_by_loops(pixels: np.ndarray, size: int) -> np.ndarray:
    """(batch, rows, columns) of (batch, 3, height, width): planes fitted by least squares, patch by patch."""
    batch, _, height, width = pixels.shape
    y, x = np.mgrid[:size, :size]
    design = np.stack([np.ones(size**2), x.ravel(), y.ravel()], axis=1)
    spans = np.zeros((batch, height // size, width // size))
    for image, row, column in np.ndindex(spans.shape):
        for channel in range(3):
            patch = pixels[image, channel, row * size : (row + 1) * size, column * size : (column + 1) * size].ravel()
            rest = patch - design @ np.linalg.lstsq(design, patch, rcond=None)[0]
            spans[image, row, column] = max(spans[image, row, column], rest.max() - rest.min())
    return spans


def ink_by_loops(spans: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """One image."""
    known = sorted(spans[candidates])
    faintest, faint = (known[int(share * len(known))] for share in (FAINTEST, FAINT))
    threshold = max(LEAST_SHARE * known[-1], ROUNDING)
    if faint <= ALIKE * faintest and STANDS_OUT * faint <= known[-1]:
        threshold = max(threshold, ABOVE_NOISE * faint)
    return candidates & (spans > threshold)


@pytest.mark.parametrize("size", [2, 7, 14])
def test_spans_are_those_of_the_slow_definition(size: int) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (2, 3, 3 * size, 5 * size)).astype(float)
    found = color_spans(torch.from_numpy(pixels), patch_size=size)
    np.testing.assert_allclose(found.numpy(), spans_by_loops(pixels, size), atol=1e-3)
    with pytest.raises(ValueError, match="do not tile"):
        color_spans(torch.from_numpy(pixels), patch_size=size + 1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    noise=st.sampled_from([0.0, 1.0, 20.0]),
    inked=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    missing=st.sampled_from([0.0, 0.5]),
)
def test_ink_is_that_of_the_slow_definition_whatever_the_batch(seed, noise, inked, missing) -> None:
    rng = np.random.default_rng(seed)
    spans = noise * rng.uniform(0.9, 1.2, (3, 101)) + (rng.random((3, 101)) < inked) * rng.uniform(0, 200, (3, 101))
    candidates = rng.random((3, 101)) >= missing
    candidates[:, 0] = True
    spans = spans.astype(np.float32)
    found = find_ink(torch.from_numpy(spans), torch.from_numpy(candidates))
    for image in range(3):
        np.testing.assert_array_equal(found[image].numpy(), ink_by_loops(spans[image], candidates[image]))


def blank(paper=(255, 255, 255)) -> Image.Image:
    return Image.new("RGB", (COLUMNS * PATCH, ROWS * PATCH), paper)


def printed(paper=(255, 255, 255), ink=(20, 20, 20)) -> tuple[Image.Image, np.ndarray]:
    """Lines of strokes over a third of the page, and the patches that they touch."""
    image = blank(paper)
    draw = ImageDraw.Draw(image)
    wanted = np.zeros((ROWS, COLUMNS), dtype=bool)
    for row in range(2, 14, 2):
        for column in range(3, 19):
            x, y = column * PATCH, row * PATCH
            for step in (2, 6, 10):
                draw.line((x + step, y + 3, x + step + 1, y + 10), fill=ink)
            wanted[row, column] = True
    return image, wanted


def ink_of(image: Image.Image) -> np.ndarray:
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
    spans = color_spans(pixels, patch_size=PATCH)
    found = find_ink(spans.flatten(1), torch.ones(1, spans[0].numel(), dtype=torch.bool))
    return found.unflatten(1, spans.shape[1:])[0].numpy()


def compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def changed(image: Image.Image, change) -> Image.Image:
    pixels = np.asarray(image, dtype=float)
    return Image.fromarray(change(pixels).round().clip(0, 255).astype(np.uint8))


def noisy(image: Image.Image, level: float) -> Image.Image:
    return changed(image, lambda pixels: 0.8 * pixels + 25 + np.random.default_rng(0).normal(0, level, pixels.shape))


def shaded(image: Image.Image) -> Image.Image:
    across = np.linspace(1.0, 0.4, image.width)[None, :, None]
    return changed(image, lambda pixels: pixels * across)


@pytest.mark.parametrize(
    ("paper", "ink"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((255, 255, 255), (190, 190, 190)),
        ((250, 230, 160), (90, 60, 20)),
        ((180, 30, 30), (250, 240, 240)),
        ((18, 20, 24), (230, 230, 230)),
        ((18, 20, 24), (60, 62, 66)),
        # Of one luma, 128: only the colors differ.
        ((200, 105, 58), (60, 155, 170)),
    ],
)
def test_print_is_ink_on_any_paper(paper, ink) -> None:
    image, wanted = printed(paper, ink)
    np.testing.assert_array_equal(ink_of(image), wanted)
    # Of a page at a quarter of the contrast, the same patches.
    faint = changed(image, lambda pixels: 0.25 * pixels + 90)
    np.testing.assert_array_equal(ink_of(faint), wanted)


def test_one_thin_stroke_in_a_corner_is_ink() -> None:
    image, wanted = printed()
    for place, gray in ((0, 20), (3, 150), (5, 200)):
        ImageDraw.Draw(image).line((place * PATCH + 12, 13, place * PATCH + 13, 13), fill=(gray,) * 3)
        wanted[0, place] = True
    np.testing.assert_array_equal(ink_of(image), wanted)


def test_tints_and_shadows_are_no_ink() -> None:
    image, wanted = printed()
    tinted = changed(image, lambda pixels: pixels - 6 * (np.arange(image.height) // 20 % 2)[:, None, None])
    np.testing.assert_array_equal(ink_of(tinted), wanted)
    np.testing.assert_array_equal(ink_of(shaded(image)), wanted)


@pytest.mark.parametrize("level", [1, 4, 8])
@pytest.mark.parametrize("shadow", [False, True])
def test_noise_is_no_ink(level: int, shadow: bool) -> None:
    image, wanted = printed()
    found = ink_of(noisy(shaded(image) if shadow else image, level))
    assert found[wanted].all()
    assert found[~wanted].mean() < 0.03


def test_noise_on_paper_that_it_cannot_brighten_is_no_ink() -> None:
    image, wanted = printed()
    found = ink_of(changed(image, lambda pixels: pixels + np.random.default_rng(0).normal(0, 6, pixels.shape)))
    assert found[wanted].all()
    assert found[~wanted].mean() < 0.03


@pytest.mark.parametrize("quality", [30, 75])
def test_what_compression_leaves_far_from_print_is_no_ink(quality: int) -> None:
    image, wanted = printed()
    found = ink_of(compressed(image, quality))
    assert found[wanted].all()
    # Blocks of 8 and of 16 pixels cross the borders of patches, so a neighbor may show some of them.
    near = wanted.copy()
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        near |= np.roll(wanted, (down, across), (0, 1))
    assert not found[~near].any()


def test_a_stretched_page_keeps_its_ink() -> None:
    image, wanted = printed()
    wide = image.resize((2 * image.width, image.height), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(ink_of(wide), wanted.repeat(2, axis=1))


def test_a_photograph_is_all_ink() -> None:
    """Overlapping leaves of a grain of their own, which stand for a picture full of things."""
    rng = np.random.default_rng(1)
    image, grain = blank((120, 110, 90)), Image.new("L", blank().size, 8)
    for _ in range(3000):
        x, y, radius = rng.integers(0, image.width), rng.integers(0, image.height), 2 + rng.exponential(6)
        leaf = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(image).ellipse(leaf, fill=tuple(rng.integers(20, 235, 3)))
        ImageDraw.Draw(grain).ellipse(leaf, fill=int(rng.integers(5, 25)))
    level = np.asarray(grain, dtype=float)[..., None]
    image = changed(image, lambda pixels: pixels + level * rng.standard_normal(pixels.shape))
    assert ink_of(image).all()
    assert ink_of(compressed(image, 60)).all()


@pytest.mark.parametrize("paper", [(255, 255, 255), (90, 60, 30), (0, 0, 0)])
def test_an_empty_page_has_no_ink(paper) -> None:
    assert not ink_of(blank(paper)).any()
    assert not ink_of(shaded(blank(paper))).any()
    assert not ink_of(compressed(blank(paper), 60)).any()


def test_noise_and_texture_alone_are_not_split() -> None:
    assert ink_of(noisy(blank(), 10)).all()


GRID = 12


def page(batch: int, *, seed: int, share: float, candidates: torch.Tensor | None = None) -> DualScaleTokens:
    generator = torch.Generator().manual_seed(seed)
    detail = torch.randn(batch, GRID**2, 5, generator=generator) * 0.2 + torch.ones(5)
    inked = torch.rand(batch, GRID**2, generator=generator) < share
    candidates = torch.ones(batch, GRID**2, dtype=torch.bool) if candidates is None else candidates
    return DualScaleTokens(
        detail=detail,
        scaffold=pool_scaffold(detail, grid=(GRID, GRID), cells=(GRID // 4, GRID // 4)),
        boxes=grid_boxes((GRID, GRID)).expand(batch, -1, -1),
        scaffold_boxes=grid_boxes((GRID // 4, GRID // 4)).expand(batch, -1, -1),
        candidates=candidates,
        grids=((GRID, GRID),) * batch,
        inked=inked & candidates,
    )


def without_ink(dual: DualScaleTokens) -> DualScaleTokens:
    return DualScaleTokens(**{**vars(dual), "inked": None})


CONFIG = ShirgXConfig(grid=GRID, budgets=(20, 60, 100), merge_epsilon=0.2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 999),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    merge=st.booleans(),
    neighbor=st.sampled_from(["anchor", "mean"]),
    padded=st.booleans(),
)
def test_no_blank_token_is_kept_while_ink_is_dropped(seed, share, merge, neighbor, padded) -> None:
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.ones(3, GRID**2, dtype=torch.bool)
    if padded:
        candidates = torch.arange(GRID**2).expand(3, -1) < 110
    dual = page(3, seed=seed, share=share, candidates=candidates)
    # Blank paper looks best, which is what the order must withstand.
    similarity = torch.rand(3, GRID**2, generator=generator) + 5.0 * ~dual.inked
    budgets = (20, 60, 100)
    config = CONFIG.replace(merge=merge, neighbor=neighbor, resize="pad" if padded else "stretch")
    tokens, selection = select(dual, similarity, config, budgets)
    for image, budget in enumerate(budgets):
        kept = selection.kept[image, :budget]
        assert tokens.lengths[image] == budget
        assert bool((selection.kept[image, budget:] == -1).all())
        assert bool(candidates[image, kept].all())
        stays = selection.assignment[image] == torch.arange(GRID**2)
        dropped = stays & candidates[image]
        dropped[kept] = False
        ink = dual.inked[image]
        assert bool(ink[kept].all()) or not bool((dropped & ink).any())
        assert torch.equal(ink, ink[selection.assignment[image]]), "ink melted into paper"
        # Within either class the scores decide, as long as no two tokens were averaged.
        if not merge:
            for mask in (ink, ~ink):
                taken = selection.scores.total[image, kept[mask[kept]]]
                left = selection.scores.total[image, dropped & mask]
                assert not len(taken) or not len(left) or bool(taken.min() >= left.max())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 1.0]), merge=st.booleans())
def test_a_page_without_paper_or_without_ink_is_chosen_as_before(seed, share, merge) -> None:
    dual, config = page(2, seed=seed, share=share), CONFIG.replace(merge=merge)
    similarity = torch.rand(2, GRID**2, generator=torch.Generator().manual_seed(seed))
    with_ink, before = (select(each, similarity, config, (20, 60)) for each in (dual, without_ink(dual)))
    assert torch.equal(with_ink[0].features, before[0].features)
    assert torch.equal(with_ink[1].kept, before[1].kept)
    assert torch.equal(with_ink[1].assignment, before[1].assignment)
    assert torch.equal(with_ink[1].scores.total, before[1].scores.total)
    assert torch.equal(with_ink[1].scores.anchor_index, before[1].scores.anchor_index)


def test_the_switch_turns_it_off() -> None:
    dual = page(2, seed=3, share=0.5)
    similarity = torch.rand(2, GRID**2) + 5.0 * ~dual.inked
    off = select(dual, similarity, CONFIG.replace(ink_first=False), (20, 60))[1]
    assert torch.equal(off.kept, select(without_ink(dual), similarity, CONFIG, (20, 60))[1].kept)
    assert not torch.equal(off.kept, select(dual, similarity, CONFIG, (20, 60))[1].kept)


@pytest.mark.parametrize("neighbor", ["anchor", "mean"])
def test_what_a_relevance_says_of_blank_paper_changes_nothing(neighbor: str) -> None:
    dual = page(1, seed=5, share=0.6)
    similarity = torch.rand(1, GRID**2)
    config = CONFIG.replace(neighbor=neighbor)
    first = select(dual, similarity, config, (20,))[1]
    other = torch.where(dual.inked, similarity, 100 * torch.randn(1, GRID**2))
    second = select(dual, other, config, (20,))[1]
    assert torch.equal(first.kept, second.kept)
    assert torch.equal(first.scores.total[dual.inked], second.scores.total[dual.inked])


def test_tiny_differences_of_scores_still_decide_among_ink() -> None:
    """An order of two keys, not a number added to the scores, which would round them away."""
    dual = page(1, seed=7, share=0.5)
    config = CONFIG.replace(merge=False, neighbor_weight=0, center_weight=0, similarity_weight=1e-6)
    similarity = torch.rand(1, GRID**2)
    kept = select(dual, similarity, config, (20,))[1].kept[0]
    best = similarity[0].masked_fill(~dual.inked[0], -1).argsort(descending=True, stable=True)[:20]
    assert kept.tolist() == sorted(best.tolist())


def test_every_cell_keeps_its_share_and_gives_ink_first() -> None:
    inked = torch.ones(1, GRID**2, dtype=torch.bool).view(1, GRID, GRID)
    inked[:, :4, :4] = False
    inked[:, 1, 2] = inked[:, 4:8, :4] = True
    inked[:, 4, 0] = False
    dual = DualScaleTokens(**{**vars(page(1, seed=1, share=1.0)), "inked": inked.flatten(1)})
    similarity = 1.0 * ~dual.inked
    kept = select(dual, similarity, CONFIG.replace(merge=False, min_per_cell=2), (20,))[1].kept[0]
    cells = kept // GRID // 4 * 3 + kept % GRID // 4
    assert cells.bincount(minlength=9).min() == 2
    first = kept[cells == 0]
    assert GRID + 2 in first.tolist(), "the one inked patch of its cell"
    assert 4 * GRID not in kept.tolist(), "a blank patch among inked ones"


def test_the_share_of_blank_tokens_is_that_of_tokens_over_paper_alone() -> None:
    dual = page(2, seed=9, share=0.4)
    tokens, selection = select(dual, torch.rand(2, GRID**2), CONFIG.replace(merge=False, ink_first=False), (60, 20))
    expected = [
        float((~dual.inked[image, selection.kept[image, :k]]).float().mean()) for image, k in enumerate((60, 20))
    ]
    torch.testing.assert_close(blank_share(dual, tokens), torch.tensor(expected))
    assert blank_share(without_ink(dual), tokens) is None
    cells = TokenSet(features=dual.scaffold, boxes=dual.scaffold_boxes, areas=torch.full((2, 9), 16.0), lengths=(9, 9))
    blocks = dual.inked.view(2, 3, 4, 3, 4).any(4).any(2).flatten(1)
    torch.testing.assert_close(blank_share(dual, cells), (~blocks).float().mean(1))
