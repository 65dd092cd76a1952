"""Training on pages of several views: the truth lies on the joined grid, and every loss reaches what it teaches."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from llava.data.batch import make_batch
from llava.data.page_data import PageDataset, PagesConfig
from llava.data.page_truth import Namer, page_truth
from llava.mm_utils import process_images
from llava.train.losses.config import LossConfig
from llava.train.losses.labeling import LabelingLoss, labeling_loss
from llava.train.losses.loss import PagesSeen
from llava.train.model import TrainingModel
from shirg.joining import join_views
from tests.losses_helpers import (
    EVERYTHING,
    SHIRG_X,
    draw_all,
    make_sample,
    page_of,
    patched_model,
    text_group,
    tokenizer,
    total_of,
)
from tests.model.test_parity import block_image

GRID = (24, 36)
WITHOUT_TRUTH = {"reading": 0.0, "alignment": 0.0, "pointing": 0.0, "grounding": 0.0, "relevance_teacher": "attention"}


def groups_of(model, pages=2):
    config = PagesConfig(families=("entity_grid",), style="shapes", pages=100)
    processor = model.get_vision_tower().image_processor
    data = PageDataset(
        config, tokenizer(), processor, model.config, answer_block=4, truth_grid=SHIRG_X.grid, spelled=True
    )
    return [data[index] for index in range(pages)]


def module_of(similarity="projected", tiles="2x3", **losses):
    model, handle = patched_model(similarity, tiles=tiles)
    torch.manual_seed(13)
    return TrainingModel(model, handle, LossConfig.from_dict({**EVERYTHING, **losses}), drawn=True)


def test_samples_carry_the_truth_of_the_joined_grid():
    model, _ = patched_model(tiles="2x3")
    for sample, *_ in groups_of(model):
        assert sample.views[0].shape == (6, 3, 168, 168)
        expected = page_truth(page_of(sample.id), GRID, 14, Namer(tokenizer()))
        assert sample.truth is not None
        assert sample.truth.classes.shape == (24, 36 * 4)
        for name, value in vars(expected).items():
            assert torch.equal(getattr(sample.truth, name), value), name


@pytest.mark.parametrize("teacher", ["boxes", "attention", "gate"])
def test_every_loss_trains_on_tiled_pages(teacher):
    module = module_of("learned", relevance_teacher=teacher, labeling=1.0, speaking=1.0)
    batch = make_batch(groups_of(module.lavida))
    parts = module(batch, draw_all(batch, gate=teacher == "gate"))
    wanted = {"denoising", "reading", "alignment", "labeling", "budget"}
    wanted |= set() if teacher == "gate" else {"pointing", "grounding", "speaking", "coordinate", "relevance"}
    assert set(parts) == wanted
    assert all(torch.isfinite(value) for value, _ in parts.values())
    # Whether characters and words of answers are among the tokens that were kept is chance.
    assert all(int(parts[name][1]) > 0 for name in wanted - {"pointing", "grounding", "speaking"})
    total_of(parts).backward()
    for part in (module.lavida.shirg_x.relevance, module.lavida.get_vision_tower(), module.lavida.shirg_x.budget_head):
        gradients = [weight.grad for weight in part.parameters() if weight.grad is not None]
        assert gradients
        assert any(bool(gradient.any()) for gradient in gradients)


def test_labels_are_looked_for_within_a_tile():
    module = module_of(labeling=1.0)
    batch = make_batch(groups_of(module.lavida))
    pages = module.handle.encode_pages(batch.views, batch.image_sizes, budget=29)
    tower = module.lavida.get_vision_tower()
    hidden = torch.randn(12, 144, tower.hidden_size)
    seen = PagesSeen(batch=batch, pages=pages, layer_inputs=(hidden, hidden), lavida=module.lavida)
    total, count = LabelingLoss(None)(seen)
    assert int(count) == 12
    labels = seen.truth.labels.unflatten(-1, GRID)
    expected = torch.zeros(())
    for view in range(12):
        page, row, column = view // 6, view % 6 // 3 * 12, view % 3 * 12
        own, shown = labels[page, :, :, row : row + 12, column : column + 12].flatten(2)[:, :, None]
        expected = expected + labeling_loss(tower.selected_layer, hidden[view : view + 1], own, shown).sum()
    assert_close(total, expected)
    features = join_views(hidden, pages.dual.grids, view=(12, 12))
    assert torch.equal(features[1, 13 * 36 + 25], hidden[6 + 3 + 2, 12 + 1])


@pytest.mark.parametrize("teacher", ["attention", "gate"])
def test_images_of_several_tilings_train_together_as_they_do_alone(teacher):
    module = module_of("learned", "auto", **WITHOUT_TRUTH | {"relevance_teacher": teacher})
    images = [block_image(100, 90, 4), block_image(350, 340, 5)]
    samples = [
        (make_sample(module.lavida, f"page {place}", "<image>\nWhat is it?", "a star", [image]),)
        for place, image in enumerate(images)
    ]
    together = make_batch([*samples, text_group(module.lavida)])
    assert [len(view) for view in together.views] == [1, 4]
    parts = module(together, draw_all(together, gate=teacher == "gate"))
    alone = []
    for group in (*samples, text_group(module.lavida)):
        batch = make_batch([group])
        alone.append(module(batch, draw_all(batch, gate=teacher == "gate")))
    for name in parts:
        found = [each[name] for each in alone if name in each]
        assert_close(parts[name][0], sum(value for value, _ in found), atol=1e-4, rtol=1e-4)
        assert int(parts[name][1]) == sum(int(count) for _, count in found)
    total_of(parts).backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in module.parameters())


def test_losses_on_what_patches_show_want_one_tiling():
    module = module_of(tiles="auto")
    (drawn,) = groups_of(module.lavida, 1)
    views, size = module.lavida.get_vision_tower().image_processor, (350, 340)
    large = block_image(*size, 5)
    other = tuple(
        replace(
            sample,
            id=f"other {sample.id}",
            views=tuple(process_images([large], views, module.lavida.config)),
            image_sizes=(size,),
        )
        for sample in drawn
    )
    batch = make_batch([drawn, other])
    with pytest.raises(ValueError, match="need pages of one tiling; set tiles to rows x columns"):
        module(batch, draw_all(batch))


def test_text_alone_reaches_everything_with_tiles_too():
    module = module_of("learned", relevance_teacher="boxes")
    batch = make_batch([text_group(module.lavida)])
    total_of(module(batch, draw_all(batch))).backward()
    missing = [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None]
    alone = module_of("learned", 1, relevance_teacher="boxes")
    batch = make_batch([text_group(alone.lavida)])
    total_of(alone(batch, draw_all(batch))).backward()
    assert missing == [
        name for name, weight in alone.named_parameters() if weight.requires_grad and weight.grad is None
    ]
