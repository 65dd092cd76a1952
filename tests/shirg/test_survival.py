"""What survives a choice of tokens, against its slow definition."""

from dataclasses import replace

import pytest
import torch

from shirg.baselines import BASELINES
from shirg.survival import LEAST_COSINE, surviving_patches
from shirg.tokens import TokenSet
from tests.baselines_helpers import GRID, image_of, run, view


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def survivors_by_loops(dual, tokens: TokenSet) -> torch.Tensor:
    found = torch.zeros(dual.detail.shape[:2], dtype=torch.bool)
    for image, length in enumerate(tokens.lengths):
        for patch in range(GRID**2):
            px, py, ph, pw = dual.boxes[image, patch].tolist()
            for place in range(length):
                x, y, h, w = tokens.boxes[image, place].tolist()
                over = abs(px - x) < 0.499 * (w + pw) and abs(py - y) < 0.499 * (h + ph)
                if over and cosine(dual.detail[image, patch], tokens.features[image, place]) >= LEAST_COSINE:
                    found[image, patch] = True
    return found


@pytest.mark.parametrize("name", BASELINES)
def test_survivors_are_those_of_the_slow_definition(name):
    dual = view(3)
    # Neighbors are alike, so that tokens made of several patches can speak for them.
    dual = replace(dual, detail=dual.detail * 0.2 + torch.arange(GRID**2)[:, None].div(7).sin() + 0.5)
    tokens = run(name, dual, 17)
    assert torch.equal(surviving_patches(dual, tokens), survivors_by_loops(dual, tokens))


def test_a_kept_patch_survives_and_its_neighbors_do_not():
    dual = view(1)
    dual = replace(dual, detail=torch.ones_like(dual.detail))  # every patch looks like every other
    kept = torch.tensor([[8, 21]])
    tokens = TokenSet(features=dual.detail[:1, :2], boxes=dual.boxes[:1, kept[0]], areas=torch.ones(1, 2), lengths=(2,))
    one = image_of(dual, 0)
    assert surviving_patches(one, tokens)[0].nonzero().flatten().tolist() == [8, 21]
    padded = replace(tokens, lengths=(1,))
    assert surviving_patches(one, padded)[0].nonzero().flatten().tolist() == [8]
