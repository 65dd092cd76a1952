"""Image tokens land exactly where their placeholders stood."""

import pytest
import torch
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.model.anyres import join_tiles, pool_views
from llava.model.splice import splice_images

WIDTH = 5


def embed(prompts: list[torch.Tensor]) -> list[torch.Tensor]:
    return [ids[:, None].float().expand(-1, WIDTH) for ids in prompts]


def test_several_images_prompts_of_different_lengths_and_labels():
    first, second, third = (torch.full((count, WIDTH), -float(count)) for count in (2, 3, 7))
    prompts = [torch.tensor([11, -200, 12, -200]), torch.tensor([13, 14]), torch.tensor([-200, 15])]
    labels = [torch.tensor([1, IGNORE_INDEX, 2, IGNORE_INDEX]), torch.tensor([3, 4]), torch.tensor([5, 6])]
    spliced = splice_images(prompts, embed(prompts), [first, second, third], labels)
    rows = [[11, -2, -2, 12, -3, -3, -3], [13, 14], [-7] * 7 + [15]]
    expected_labels = [[1, -100, -100, 2, -100, -100, -100], [3, 4], [-100] * 7 + [6]]
    assert spliced.lengths == (7, 2, 8)
    for row, values in enumerate(rows):
        assert spliced.embeds[row, :, 0].tolist() == values + [0] * (8 - len(values))
        assert spliced.labels[row].tolist() == expected_labels[row] + [-100] * (8 - len(values))
    assert spliced.attention_mask.sum(1).tolist() == [7, 2, 8]


def test_nothing_is_masked_when_nothing_is_padded():
    prompts = [torch.tensor([1, 2]), torch.tensor([3, 4])]
    assert splice_images(prompts, embed(prompts), []).attention_mask is None


@pytest.mark.parametrize("images", [0, 2])
def test_placeholders_and_images_must_pair_up(images):
    with pytest.raises(ValueError, match=f"1 <image> placeholders.*{images} images"):
        splice_images([torch.tensor([1, -200])], [torch.zeros(2, WIDTH)], [torch.zeros(2, WIDTH)] * images)


def test_tiles_are_joined_into_one_page_with_a_newline_per_row():
    side, columns, rows = 2, 3, 2
    page = torch.arange(rows * side * columns * side).reshape(rows * side, columns * side)
    tiles = torch.stack(
        [page[y * side : (y + 1) * side, x * side : (x + 1) * side] for y in range(rows) for x in range(columns)]
    )
    views = torch.cat([torch.full((1, side, side), -1), tiles])[..., None].expand(-1, -1, -1, WIDTH).float()
    joined = join_tiles(views, columns=columns, rows=rows, image_size=(6, 4), newline=torch.full((WIDTH,), -9.0))
    expected = [-1] * 4
    for row in page.tolist():
        expected += [*row, -9]
    assert joined[:, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["average", "max", "bilinear"])
def test_pooling_keeps_constant_views_and_halves_the_side(mode):
    views = torch.full((3, 49, WIDTH), 2.5)
    pooled = pool_views(views, side=7, stride=2, mode=mode)
    assert pooled.shape == (3, 4 if mode == "bilinear" else 3, 4 if mode == "bilinear" else 3, WIDTH)
    assert_close(pooled, torch.full_like(pooled, 2.5))


def test_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="medain"):
        pool_views(torch.zeros(1, 4, WIDTH), side=2, stride=2, mode="medain")


def test_there_must_be_one_label_for_each_id():
    prompts = [torch.tensor([7, 5]), torch.tensor([3, -200, 2])]
    labels = [torch.tensor([7, 5, 5]), torch.tensor([3, 2])]
    with pytest.raises(ValueError, match=r"prompts of \[2, 3\] ids got \[3, 2\] labels"):
        splice_images(prompts, [torch.zeros(2, 3), torch.zeros(3, 3)], [torch.zeros(4, 3)], labels)
