"""The budget head taught by evidence: against the evidence of each page drawn again, and without the language model."""

import pytest
import torch
from torch.testing import assert_close

import llava.train.model as training
from llava.data.batch import make_batch
from llava.pages import patches_under
from llava.train.losses.budget import evidence_kept, evidence_labels
from llava.train.losses.loss import PagesSeen
from shirg.survival import surviving_patches
from tests.losses_helpers import SHIRG_X, draw_all, moved_by, page_groups, training_model

GRID = SHIRG_X.grid, SHIRG_X.grid


def seen_by(module, batch) -> PagesSeen:
    with torch.no_grad():
        pages = module.handle.encode_pages(batch.views, batch.image_sizes)
    return PagesSeen(batch=batch, pages=pages, lavida=module.lavida)


def kept_by_loops(module, batch, seen) -> torch.Tensor:
    """The same from each question's own boxes, one page and one question at a time."""
    kept = torch.zeros(len(batch.views), len(SHIRG_X.budgets))
    for image in range(len(batch.views)):
        asked = [row for row, place in enumerate(batch.image_index) if place == image]
        for place, budget in enumerate(SHIRG_X.budgets):
            survived = []
            for row in asked:
                question = batch.page_questions[row]
                under = patches_under((*question.evidence, *question.answer_boxes), GRID)
                one = seen.pages.gather([image], budget)
                wanted = torch.from_numpy(under).flatten() & one.dual.inked[0]
                tokens = module.handle.select_tokens(one, [batch.questions[row]]).tokens
                if wanted.any():
                    survived.append(bool(surviving_patches(one.dual, tokens)[0][wanted].all()))
            kept[image, place] = sum(survived) / len(survived)
    return kept


def test_what_is_kept_is_told_by_each_page_s_own_evidence():
    module = training_model(pointing=0.0)
    batch = make_batch(page_groups(module.lavida, 5))
    seen = seen_by(module, batch)
    kept, known = evidence_kept(module.handle, seen)
    assert known.all()
    assert_close(kept, kept_by_loops(module, batch, seen))
    assert 0 < kept.mean() < 1, "nothing can be told apart here"


def test_pages_without_evidence_teach_nothing():
    module = training_model(pointing=0.0, budget_teacher="evidence", budget_slack=0.0)
    batch = make_batch(page_groups(module.lavida, 3))
    blank = [not index for index in batch.image_index]
    batch.__dict__["page_questions"] = tuple(
        None if without else question for question, without in zip(batch.page_questions, blank, strict=True)
    )
    seen = seen_by(module, batch)
    kept, known = evidence_kept(module.handle, seen)
    assert known.tolist() == [False, True, True]
    maps, labels = module._measure_budgets(seen, draw_all(batch, measured=False))
    assert torch.equal(maps, module.handle.budget_maps(torch.cat(list(batch.views)), seen.pages.dual.grids)[1:])
    assert torch.equal(labels, evidence_labels(kept, slack=0.0)[1:])


def test_every_step_teaches_the_head_alone_and_asks_the_language_model_nothing_more(monkeypatch):
    module = training_model(pointing=0.0, budget_teacher="evidence")
    batch = make_batch(page_groups(module.lavida, 2))
    passes, real = [], training.two_copies
    monkeypatch.setattr(training, "two_copies", lambda *given, **named: (passes.append(1), real(*given, **named))[1])
    parts = module(batch, draw_all(batch, measured=False))
    assert len(passes) == 1
    names = moved_by(module, parts["budget"][0])
    assert names
    assert all(name.startswith("lavida.shirg_x.budget_head.") for name in names)


def test_other_pages_than_drawn_ones_are_refused():
    with pytest.raises(ValueError, match="budget_teacher: evidence needs drawn pages and SHIRG-X"):
        training.TrainingModel(
            training_model().lavida,
            training_model().handle,
            training_model(budget_teacher="evidence").loss_config.from_dict({"budget_teacher": "evidence"}),
        )
