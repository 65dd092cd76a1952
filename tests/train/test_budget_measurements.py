"""What a step measures of budgets, by which noise and for which questions, and when the budget head learns from it."""

import torch
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.data.batch import make_batch
from llava.train import model as training
from tests.losses_helpers import SHIRG_X, draw_all, moved_by, page_groups, training_model


def test_budgets_are_measured_with_the_same_noise_and_reach_the_head_alone(monkeypatch):
    module = training_model(denoising=1.0)
    batch = make_batch(page_groups(module.lavida, 2))
    drawn = draw_all(batch)
    seen = []
    real = training.two_copies

    def recorded(lavida, prepared, masked, **settings):
        seen.append((prepared.lengths[0], masked[prepared.labels != IGNORE_INDEX]))
        return real(lavida, prepared, masked, **settings)

    monkeypatch.setattr(training, "two_copies", recorded)
    parts = module(batch, drawn)
    measured = seen[1:]
    assert [length - measured[0][0] for length, _ in measured] == [0] * 4 + [14] * 4 + [32] * 4
    for draw in range(4):
        assert torch.equal(measured[draw][1], measured[draw + 4][1])
        assert torch.equal(measured[draw][1], measured[draw + 8][1])
    assert not torch.equal(measured[0][1], measured[1][1])
    names = moved_by(module, parts["budget"][0])
    assert names
    assert all(name.startswith("lavida.shirg_x.budget_head.") for name in names)


def test_the_head_goes_on_learning_in_steps_that_measure_nothing():
    module = training_model(budget_memory=2)
    batches = [make_batch(page_groups(module.lavida, 1, first=first)) for first in (0, 1, 2)]
    assert "budget" not in module(batches[0], draw_all(batches[0], measured=False))
    measured = [module(batch, draw_all(batch))["budget"] for batch in batches]
    assert [int(count) for _, count in measured] == [1, 2, 2]
    parts = module(batches[0], draw_all(batches[0], measured=False))
    assert_close(parts["budget"], measured[2])
    names = moved_by(module, parts["budget"][0])
    assert names
    assert all(name.startswith("lavida.shirg_x.budget_head.") for name in names)


def test_the_budget_label_is_that_of_the_page_s_own_questions(monkeypatch):
    module = training_model(pointing=0.0, budget_slack=0.13)
    batch = make_batch(page_groups(module.lavida, 2))
    drawn = draw_all(batch)
    seen = []

    def recorded(losses, *, slack):
        assert slack == 0.13
        seen.append(losses)
        return torch.zeros(2, dtype=torch.long)

    monkeypatch.setattr(training, "budget_labels", recorded)
    module(batch, drawn)
    with torch.no_grad():
        pages = module.handle.encode_pages(batch.views, batch.image_sizes)
        for place, budget in enumerate(SHIRG_X.budgets):
            rows = pages.gather(batch.image_index, budget)
            prepared = module._splice(batch, module.handle.select_tokens(rows, batch.questions).sequences)
            for draw, (times, noise) in enumerate(drawn.measurements):
                sums = module._run(prepared, times, noise)[1].sample_sums
                assert_close(seen[0][draw, :, place], torch.stack([sums[0] + sums[1], sums[2] + sums[3]]))
