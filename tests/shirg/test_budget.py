"""Entropy against counting by hand; the head's size, start and choices."""

import math
from collections import Counter

import pytest
import torch
from torch.nn import functional

from shirg.budget import BudgetHead, feasible_budgets, patch_entropy, predict_budgets


def entropy_by_counting(pixels, size):
    batch, _, height, width = pixels.shape
    result = torch.zeros(batch, height // size, width // size)
    for image in range(batch):
        for row in range(height // size):
            for column in range(width // size):
                shades = Counter()
                for y in range(row * size, (row + 1) * size):
                    for x in range(column * size, (column + 1) * size):
                        red, green, blue = (int(value) for value in pixels[image, :, y, x])
                        shades[(299 * red + 587 * green + 114 * blue) // 16_000] += 1
                shares = [count / size**2 for count in shades.values()]
                result[image, row, column] = -sum(share * math.log(share, 16) for share in shares)
    return result


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (2, 3, 21, 35), dtype=torch.uint8)


def test_entropy_matches_counting(pixels):
    torch.testing.assert_close(patch_entropy(pixels, patch_size=7), entropy_by_counting(pixels, 7))


def test_floats_mean_the_8_bit_values_they_are_near(pixels):
    noisy = (pixels.float() / 255 - 0.5) / 0.5 * 0.5 * 255 + 127.5
    noisy = noisy + 0.3 * (2 * torch.rand_like(noisy) - 1)
    torch.testing.assert_close(patch_entropy(noisy, patch_size=7), patch_entropy(pixels, patch_size=7), rtol=0, atol=0)


def test_blank_is_zero_and_all_shades_alike_is_one():
    gray = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(patch_entropy(gray, patch_size=16), torch.ones(1, 1, 1))
    for level in (0, 16, 255):
        assert patch_entropy(torch.full((1, 3, 16, 16), level, dtype=torch.uint8), patch_size=8).abs().max() == 0


def test_patches_must_tile_the_image(pixels):
    with pytest.raises(ValueError, match="patches of 5 pixels do not tile an image of 35 x 21"):
        patch_entropy(pixels, patch_size=5)


class TestBudgetHead:
    def test_full_size(self):
        assert sum(weight.numel() for weight in BudgetHead().parameters()) == 32_899

    @pytest.mark.parametrize("grid", [12, 48])
    def test_any_grid_is_pooled_to_the_same_size(self, grid):
        head = BudgetHead(num_budgets=5)
        torch.nn.init.normal_(head.out.weight)
        entropy = torch.rand(2, grid, grid)
        pooled = functional.adaptive_avg_pool2d(entropy[:, None], (32, 32)).flatten(1)
        expected = functional.gelu(pooled @ head.hidden.weight.T + head.hidden.bias) @ head.out.weight.T
        torch.testing.assert_close(head(entropy), expected)

    def test_untrained_is_undecided_and_can_learn(self):
        head = BudgetHead()
        logits = head(torch.rand(2, 48, 48))
        assert torch.equal(logits, torch.zeros(2, 3))
        functional.cross_entropy(logits, torch.tensor([1, 1])).backward()
        assert head.out.weight.grad.abs().sum() > 0

    def test_gives_the_dtype_of_its_weights(self):
        assert BudgetHead().bfloat16()(torch.rand(2, 48, 48)).dtype == torch.bfloat16


class TestPredictBudgets:
    budgets = (512, 768, 1024)

    def test_each_image_gets_its_highest(self):
        logits = torch.tensor([[3.0, 1.0, 2.0], [-1.0, -2.0, -0.5], [0.0, 5.0, 4.0]])
        assert predict_budgets(logits, self.budgets) == (512, 1024, 768)

    def test_the_undecided_keep_the_most(self):
        assert predict_budgets(torch.zeros(2, 3), self.budgets) == (1024, 1024)

    def test_the_infeasible_are_passed_over(self):
        logits = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
        assert predict_budgets(logits, self.budgets, [1023, 512, 2304]) == (768, 512, 512)

    def test_an_image_that_can_fill_none_keeps_all_it_has(self):
        assert feasible_budgets(768, self.budgets) == (512, 768)
        assert feasible_budgets(511, self.budgets) == (511,)
        assert predict_budgets(torch.zeros(3, 3), self.budgets, [2304, 511, 1]) == (1024, 511, 1)

    def test_a_head_of_another_size_is_an_error(self):
        with pytest.raises(ValueError, match="gives 2 logits for 3 budgets"):
            predict_budgets(torch.zeros(1, 2), self.budgets)
