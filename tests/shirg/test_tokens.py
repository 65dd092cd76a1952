"""Tokens keep their place, their lengths and their promise about shapes."""

import pytest
import torch

from shirg.tokens import DualScaleTokens, TokenSet


def token_set(lengths: tuple[int, ...]) -> TokenSet:
    features = torch.arange(2 * 5 * 3, dtype=torch.bfloat16).view(2, 5, 3)
    return TokenSet(features=features, boxes=torch.rand(2, 5, 4), areas=torch.ones(2, 5), lengths=lengths)


def test_unpad_gives_each_image_its_own_tokens():
    tokens = token_set((5, 2))
    first, second = tokens.unpad()
    assert torch.equal(first, tokens.features[0])
    assert torch.equal(second, tokens.features[1, :2])


@pytest.mark.parametrize("lengths", [(5,), (5, 2, 1), (6, 2), (-1, 2)])
def test_lengths_must_fit_the_features(lengths):
    with pytest.raises(ValueError, match=r"from 0 to 5 for each of 2 images"):
        token_set(lengths)


def test_detail_must_fill_the_grid():
    with pytest.raises(ValueError, match=r"2 pages of 8 patches need as many grids, the largest of so many"):
        DualScaleTokens(
            detail=torch.zeros(2, 8, 5),
            scaffold=torch.zeros(2, 1, 5),
            boxes=torch.zeros(2, 8, 4),
            scaffold_boxes=torch.zeros(2, 1, 4),
            candidates=torch.ones(2, 8, dtype=torch.bool),
            grids=((3, 3), (2, 3)),
        )
