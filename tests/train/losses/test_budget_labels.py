"""The smallest budget that would have done, planted."""

import pytest
import torch
from torch.testing import assert_close

from llava.train.losses.budget import budget_labels, budget_loss, evidence_labels

DRAWS, BUDGETS = 5, 3


def test_the_label_is_the_smallest_budget_within_the_slack_two_percent_by_default():
    means = torch.tensor(
        [
            [1.0, 1.0, 1.0],
            [1.019, 1.05, 1.0],
            [1.03, 1.015, 1.0],
            [1.5, 1.03, 1.0],
            [1.03, 1.0, 1.1],
            [0.0, 0.0, 0.0],
            [0.1, 0.0, 0.0],
        ]
    )
    swing = torch.linspace(-0.5, 0.5, DRAWS)[:, None, None]
    assert budget_labels(means + swing).tolist() == [0, 0, 1, 2, 1, 0, 1]
    assert budget_labels(means + swing, slack=0.04).tolist() == [0, 0, 0, 1, 0, 0, 1]
    assert budget_labels(means + swing, slack=0.0).tolist() == [0, 2, 2, 2, 1, 0, 1]


def test_draws_are_averaged_before_budgets_are_compared():
    losses = torch.full((DRAWS, 1, BUDGETS), 1.0)
    losses[:, 0, 1] = torch.tensor([0.1, 1.3, 1.3, 1.3, 1.3])
    losses[:, 0, 2] = torch.tensor([1.2, 0.9, 0.9, 0.9, 0.9])
    assert budget_labels(losses).tolist() == [2]


def test_fewer_than_four_draws_are_refused():
    budget_labels(torch.ones(4, 1, BUDGETS))
    with pytest.raises(ValueError, match="at least 4 noise draws, got 3"):
        budget_labels(torch.ones(3, 1, BUDGETS))


def test_the_loss_is_the_cross_entropy_of_each_image_in_float32():
    logits = torch.randn(7, BUDGETS).bfloat16()
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 1])
    found = budget_loss(logits, labels)
    expected = [-logits[row].float().softmax(0)[label].log() for row, label in enumerate(labels.tolist())]
    assert_close(found, torch.stack(expected))


def test_by_evidence_the_label_is_the_smallest_budget_that_keeps_that_of_enough_questions():
    kept = torch.tensor([[0.5, 0.97, 1.0], [0.985, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.2, 0.8, 0.7]])
    assert evidence_labels(kept).tolist() == [2, 0, 0, 0, 1]
    assert evidence_labels(kept, slack=0.04).tolist() == [1, 0, 0, 0, 1]
    assert evidence_labels(kept, slack=0.0).tolist() == [2, 1, 0, 0, 1]
