"""What a tower gathers, against the tokens that name it, and a whole training step of a model that gathers."""

import pytest
import torch
from torch.testing import assert_close

from llava.data.batch import make_batch
from llava.data.page_truth import ROLES
from llava.pages import NONE
from llava.train.losses.gathering import gathering_loss
from tests import losses_helpers
from tests.losses_helpers import draw_all, moved_by, page_groups, training_model

PAGES, PATCHES, WIDTH, VOCABULARY, SCALE = 2, 5, 13, 17, 12.0


def names() -> torch.Tensor:
    found = torch.full((PAGES, len(ROLES), PATCHES, 3), NONE)
    found[0, ROLES.index("word"), 1, :2] = torch.tensor([4, 9])
    found[1, ROLES.index("word"), 3, :1] = torch.tensor([11])
    found[1, ROLES.index("column"), 2, :1] = torch.tensor([2])
    found[1, ROLES.index("column"), 4, :1] = torch.tensor([8])
    found[0, ROLES.index("slot 0"), 0, :1] = torch.tensor([6])
    return found


def test_the_loss_is_that_of_cosines_with_all_that_is_named_on_the_pages_in_each_kind():
    torch.manual_seed(1)
    gathered, embeddings = torch.randn(PAGES, PATCHES, 3, WIDTH), torch.randn(VOCABULARY, WIDTH)

    def said(page, patch, kind, token, choices):
        cosines = torch.cosine_similarity(gathered[page, patch, kind][None], embeddings[choices])
        return -(SCALE * cosines).log_softmax(0)[choices.index(token)]

    word = [(said(0, 1, 0, 4, [4, 9, 11]) + said(0, 1, 0, 9, [4, 9, 11])) / 2, said(1, 3, 0, 11, [4, 9, 11])]
    column = [said(1, 2, 2, 2, [2, 8]), said(1, 4, 2, 8, [2, 8])]
    expected = (sum(word) / 2 + sum(column) / 2) / 2
    assert_close(gathering_loss(gathered, names(), embeddings), expected)
    nothing = torch.full_like(names(), NONE)
    assert float(gathering_loss(gathered, nothing, embeddings)) == 0


@pytest.fixture
def gathering_sizes(monkeypatch):
    monkeypatch.setattr(losses_helpers, "SIZES", losses_helpers.SIZES.replace(vision_layers=3, gathers=True))


def test_a_step_teaches_what_is_gathered_and_what_it_is_relevant_for(gathering_sizes):
    module = training_model("matched", gathering=1.0, relevance_teacher="boxes", relevance_into_tower=True)
    batch = make_batch(page_groups(module.lavida, 2))
    parts = module(batch, draw_all(batch))
    assert {"gathering", "relevance", "denoising"} <= set(parts)
    gathered = "lavida.model.vision_tower.gathering.read.0.weight"
    assert gathered in moved_by(module, parts["gathering"][0])
    moved = moved_by(module, module(batch, draw_all(batch))["relevance"][0])
    assert {gathered, "lavida.shirg_x.relevance.gate.0.weight", "lavida.shirg_x.relevance.outcomes.weight"} <= set(
        moved
    )
    module.zero_grad()
    total = sum(value / count.clamp(min=1) for value, count in module(batch, draw_all(batch)).values())
    total.backward()
    silent = [name for name, weight in module.lavida.shirg_x.named_parameters() if weight.grad is None]
    assert silent == []


def test_no_page_of_a_model_that_gathers_depends_on_its_batch_mates(gathering_sizes):
    module = training_model("matched", alignment=0.0, relevance_teacher="boxes")
    groups = page_groups(module.lavida, 2)
    together = module(make_batch(groups), draw_all(make_batch(groups)))
    alone = [module(make_batch([group]), draw_all(make_batch([group]))) for group in groups]
    for name in ("denoising", "relevance", "pointing"):
        assert_close(together[name][0], sum(parts[name][0] for parts in alone), rtol=2e-5, atol=1e-5)


def test_a_tower_that_gathers_nothing_is_refused():
    with pytest.raises(ValueError, match="gathering needs a vision tower that gathers words"):
        training_model(gathering=1.0)
