"""Tokens, merged and dropped patches add up to all there are, also where padding is none of them."""

import torch

from shirg.counts import count_patches
from shirg.scoring import Scores
from shirg.shirg_selector import Selection


def selection(assignment: list[int], kept: list[int], length: int) -> Selection:
    patches = torch.tensor([assignment, list(range(len(assignment)))])
    zeros = torch.zeros(patches.shape)
    anchors = torch.tensor([[2, 0, -1], [-1, -1, -1]])
    scores = Scores(total=zeros, similarity=zeros, neighbor_distance=zeros, center_distance=zeros, anchor_index=anchors)
    return Selection(
        scores=scores,
        assignment=patches,
        kept=torch.tensor([kept, [0, 1, 3]]),
        lengths=(length, 3),
        grids=((2, 4),) * 2,
    )


def test_what_was_folded_into_a_dropped_token_is_dropped() -> None:
    # 1 and 3 join 0, 5 joins 4; 0 and 6 survive, 2 and 4 do not, and 7 is padding.
    chosen = selection([0, 0, 2, 0, 4, 4, 6, 7], [0, 6, -1], 2)
    counts = count_patches(chosen, candidates=7)
    assert (counts.tokens, counts.merged, counts.dropped, counts.anchors) == (2, 2, 3, 2)
    assert counts.kept_patches == 4
    assert counts.tokens + counts.merged + counts.dropped == counts.candidates


def test_each_image_of_a_batch_is_counted_by_itself() -> None:
    counts = count_patches(selection([0, 0, 2, 0, 4, 4, 6, 7], [0, 6, -1], 2), candidates=8, index=1)
    assert (counts.tokens, counts.merged, counts.dropped, counts.anchors) == (3, 0, 5, 0)
