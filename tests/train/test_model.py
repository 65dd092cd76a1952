"""One training step's losses: whom they depend on, what they teach, and what they leave alone."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.data.batch import make_batch
from llava.pages import NONE, patches_under
from llava.train import model as training
from llava.train.losses.config import LossConfig
from llava.train.losses.looking import tokens_under
from llava.train.losses.relevance import relevant_patches
from llava.train.model import TrainingModel
from shirg.coordinates import grid_boxes
from tests import losses_helpers
from tests.losses_helpers import (
    EVERYTHING,
    SHIRG_X,
    draw_all,
    fresh_model,
    gradients,
    image_group,
    make_sample,
    moved_by,
    page_groups,
    patched_model,
    text_group,
    total_of,
    training_model,
)
from tests.model.test_parity import block_image

ALL_PARTS = {"denoising", "reading", "pointing", "grounding", "coordinate", "relevance", "budget"}
"""But alignment and speaking, which tell a token's words from those that its batch mates show."""


@pytest.mark.parametrize(
    ("settings", "gate"),
    [
        ({}, False),
        ({"prefix_lm": True, "relevance_teacher": "boxes"}, False),
        ({"reweight": True, "relevance_teacher": "gate"}, True),
    ],
)
def test_no_group_depends_on_its_batch_mates_in_any_loss(settings, gate):
    module = training_model("learned", alignment=0.0, **settings)
    groups = [*page_groups(module.lavida, 2), text_group(module.lavida)]
    together = module(make_batch(groups), draw_all(make_batch(groups), gate=gate))
    expected_parts = ALL_PARTS - ({"pointing", "grounding", "coordinate", "relevance"} if gate else set())
    assert set(together) == expected_parts
    sums = dict.fromkeys(expected_parts, (torch.zeros(()), torch.tensor(0)))
    for group in groups:
        batch = make_batch([group])
        for name, (value, count) in module(batch, draw_all(batch, gate=gate)).items():
            sums[name] = (sums[name][0] + value, sums[name][1] + count)
    for name, (value, count) in together.items():
        assert_close(value, sums[name][0], rtol=2e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        assert int(count) == int(sums[name][1]), name


def test_losses_of_a_page_do_not_depend_on_how_much_longer_its_batch_mates_are():
    model, handle = patched_model(resize="pad")
    config = LossConfig.from_dict({**EVERYTHING, "alignment": 0.0})
    module = TrainingModel(model, handle, config, drawn=True)
    whole, (page, _) = page_groups(model, 2)
    words = "<image> " + "Is the red circle left of A? " * 9
    narrow = replace(
        make_sample(model, "narrow", words, "A", [block_image(64, 160, 1)]),
        # Words for the first patch, which is what padding of the kept patches would be taken for.
        truth=replace(page.truth, names=page.truth.names.index_fill(1, torch.tensor([0]), 300)),
        page_question=replace(page.page_question, answer_boxes=((0.2, 0.2, 0.8, 0.8),)),
        pointers=torch.tensor([[66, 1, 66, 1]]),
    )
    batches = [make_batch(groups) for groups in ([(narrow,), whole], [(narrow,)], [whole])]
    pages = handle.encode_pages(batches[0].views, batches[0].image_sizes, budget=1)
    assert pages.candidate_counts[0] < 120 < pages.candidate_counts[1]
    together, *alone = [module(batch, draw_all(batch, budget=120, measured=False)) for batch in batches]
    assert {"pointing", "grounding"} < set(together)
    for name, (value, count) in together.items():
        values, counts = zip(*(parts[name] for parts in alone), strict=True)
        assert_close(value, sum(values), rtol=2e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        assert int(count) == int(sum(counts)), name
        assert min(map(int, counts)) > 0, name


def test_several_images_and_text_train_beside_each_other():
    model, handle = patched_model()
    module = TrainingModel(model, handle, LossConfig())
    groups = [image_group(model), text_group(model)]
    together = module(make_batch(groups), draw_all(make_batch(groups)))
    alone = [module(make_batch([group]), draw_all(make_batch([group]))) for group in groups]
    assert set(alone[1]) == {"denoising"}
    assert_close(together["denoising"][0], alone[0]["denoising"][0] + alone[1]["denoising"][0], rtol=2e-5, atol=1e-5)
    assert int(together["coordinate"][1]) == 2 * 43
    assert int(together["budget"][1]) == 2


@pytest.mark.parametrize("mode", [None, "stock"])
def test_lavida_s_own_encoding_trains_without_shirg_x(mode):
    model, handle = fresh_model(), None
    if mode == "stock":
        model, handle = patched_model(mode="stock")
    module = TrainingModel(model, handle, LossConfig.from_dict({"budget": 1.0}))
    groups = [image_group(model), text_group(model)]
    batch = make_batch(groups)
    parts = module(batch, draw_all(batch, budget=None, measured=False))
    assert set(parts) == {"denoising"}
    assert int(parts["denoising"][1]) == batch.num_labeled
    assert "lavida.model.mm_projector.0.weight" in moved_by(module, parts["denoising"][0])


def test_a_stage_without_denoising_runs_no_language_model(monkeypatch):
    module = training_model(denoising=0.0, pointing=0.0, grounding=0.0)
    monkeypatch.setattr(module.lavida.model, "forward", None)
    batch = make_batch(page_groups(module.lavida, 2))
    parts = module(batch, draw_all(batch))
    assert set(parts) == {"reading", "alignment"}
    assert set(module.losses) == {"reading", "alignment"}


@pytest.mark.parametrize("deep", [False, True])
def test_relevance_is_taught_by_boxes_without_a_language_model(monkeypatch, deep):
    """Its own maps, and where settings say so the tower and the words that it reads."""
    losses = {"denoising": 0.0, "pointing": 0.0, "grounding": 0.0, "relevance_teacher": "boxes"}
    module = training_model("learned", **losses, relevance_into_tower=deep)
    monkeypatch.setattr(module.lavida.model, "forward", None)
    batch = make_batch(page_groups(module.lavida, 2))
    parts = module(batch, draw_all(batch))
    assert set(parts) == {"reading", "alignment", "relevance"}
    moved = moved_by(module, parts["relevance"][0])
    assert {name for name in moved if "shirg_x.relevance" in name}
    assert any("vision_tower" in name for name in moved) == deep
    assert any("wte" in name for name in moved) == deep


@pytest.mark.parametrize("teacher", ["attention", "gate"])
def test_teachers_that_ask_the_language_model_need_denoising(teacher):
    with pytest.raises(ValueError, match=rf"relevance_teacher {teacher} asks the language model"):
        training_model("learned", denoising=0.0, pointing=0.0, grounding=0.0, relevance_teacher=teacher)


def test_patches_are_put_into_the_words_that_are_read_and_those_that_are_said():
    module = training_model(denoising=0.0, pointing=0.0, grounding=0.0, reading=0.0)
    batch = make_batch(page_groups(module.lavida, 2))
    value, _ = module(batch, draw_all(batch))["alignment"]
    grads = gradients(module, value)
    named = {token for truth in batch.truths for token in truth.names.flatten().tolist() if token != NONE}
    for name in ("wte", "ff_out"):
        (grad,) = (grad for key, grad in grads.items() if key.endswith(f"model.transformer.{name}.weight"))
        assert set(grad.abs().sum(1).nonzero().flatten().tolist()) == named
    assert any("mm_projector" in key for key in grads)


@pytest.mark.parametrize("teacher", ["boxes", "attention"])
def test_a_teacher_moves_the_relevance_and_nothing_else(teacher):
    module = training_model("learned", relevance_teacher=teacher)
    batch = make_batch(page_groups(module.lavida, 2))
    value, count = module(batch, draw_all(batch, measured=False))["relevance"]
    assert int(count) == 4
    assert moved_by(module, value) == {
        "lavida.shirg_x.relevance.patch_map.weight",
        "lavida.shirg_x.relevance.word_map.weight",
    }


def test_the_gate_teaches_the_relevance_through_denoising_alone():
    module = training_model("learned", relevance_teacher="gate")
    batch = make_batch(page_groups(module.lavida, 2))
    for gate in (True, False):
        parts = module(batch, draw_all(batch, measured=False, gate=gate))
        assert "relevance" not in parts
        found = moved_by(module, parts["denoising"][0])
        assert ("lavida.shirg_x.relevance.patch_map.weight" in found) == gate


def test_true_boxes_want_the_answer_and_what_the_question_names_alike():
    module = training_model("learned", relevance_teacher="boxes")
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    pages = module.handle.encode_pages(batch.views, batch.image_sizes)
    wanted = relevant_patches(batch, pages.gather(batch.image_index).dual.boxes)
    named = 0
    for question, row in zip(batch.page_questions, wanted, strict=True):
        expected = torch.zeros(144)
        for boxes in (question.answer_boxes, question.evidence):
            # Boxes that only meet share no area, whichever way their edges were rounded.
            inner = tuple((x0 + 1e-5, y0 + 1e-5, x1 - 1e-5, y1 - 1e-5) for x0, y0, x1, y1 in boxes)
            under = torch.from_numpy(patches_under(inner, (12, 12))).flatten()
            if boxes:
                expected += under / under.sum() / 2
        assert_close(row, expected)
        named += bool(question.evidence)
    assert named > 0


def test_a_random_step_chooses_by_its_seed_and_each_sample_s_name():
    module = training_model("learned")
    batch = make_batch(page_groups(module.lavida, 2))
    chosen = []
    select = module.handle.select_tokens

    def noted(*given, **options):
        prefix = select(*given, **options)
        chosen.append(prefix.selection.kept)
        return prefix

    module.handle.select_tokens = noted
    for seed in (None, 3, 3, 4):
        module(batch, replace(draw_all(batch, measured=False), selection_seed=seed))
    usual, first, again, other = chosen
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, usual)
    # Two questions about one page are two samples.
    assert not torch.equal(first[0], first[1])


def test_a_step_may_tell_the_truth(monkeypatch):
    """Then the answer's patches are chosen first and told as such, whatever the relevance finds."""
    monkeypatch.setattr(losses_helpers, "SIZES", losses_helpers.SIZES.replace(vision_layers=3, gathers=True))
    module = training_model("matched")
    batch = make_batch(page_groups(module.lavida, 2))
    chosen, told = [], []
    select, telling = module.handle.select_tokens, module.lavida.shirg_x.relevance.telling
    monkeypatch.setattr(
        module.handle, "select_tokens", lambda *a, **options: chosen.append(select(*a, **options)) or chosen[-1]
    )
    telling.register_forward_hook(lambda _, given, __: told.append(given[0]))
    for truth in (False, True):
        module(batch, replace(draw_all(batch, measured=False), tells_truth=truth))
    found, true = told
    boxes = chosen[1].tokens.boxes
    assert not torch.equal(found, true)
    for sample, question in enumerate(batch.page_questions):
        under = tokens_under(grid_boxes((SHIRG_X.grid,) * 2)[None], [question.answer_boxes])[0].bool()
        assert torch.equal(true[sample, :, 0] == true[sample, :, 0].max(), under)
        assert tokens_under(boxes[sample : sample + 1], [question.answer_boxes]).any() == under.any()


@pytest.mark.parametrize("teacher", ["boxes", "attention", "gate"])
def test_the_answer_never_reaches_relevance_or_selection(teacher, monkeypatch):
    module = training_model("learned", relevance_teacher=teacher)
    batch = make_batch(page_groups(module.lavida, 2))
    changed = replace(
        batch,
        prompts=tuple(
            torch.where(labels == IGNORE_INDEX, ids, 300)
            for ids, labels in zip(batch.prompts, batch.labels, strict=True)
        ),
        labels=tuple(torch.where(labels == IGNORE_INDEX, labels, 300) for labels in batch.labels),
        page_questions=tuple(
            replace(question, answer="wrong", answer_boxes=((0.1, 0.1, 0.2, 0.2),)) for question in batch.page_questions
        ),
    )
    seen = []
    hook = module.lavida.shirg_x.relevance.register_forward_hook(lambda *found: seen.append(found[2].detach()))
    select = module.handle.select_tokens
    monkeypatch.setattr(
        module.handle,
        "select_tokens",
        lambda *given, **options: (prefix := select(*given, **options), seen.append(prefix.selection.kept))[0],
    )
    runs = []
    for given in (batch, changed):
        seen.clear()
        for gate in (False, True) if teacher == "gate" else (False,):
            parts = module(given, draw_all(given, gate=gate))
        runs.append(list(seen))
    hook.remove()
    assert parts["denoising"][0] > 0
    assert len(runs[0]) == len(runs[1]) >= 3
    for before, after in zip(*runs, strict=True):
        assert torch.equal(before, after)


def test_coordinates_train_from_step_0_although_their_last_layer_starts_at_zero():
    module = training_model(pointing=0.0)
    embedding = module.lavida.shirg_x.coordinates
    with torch.no_grad():
        embedding.coord_out.weight.zero_()
    batch = make_batch(page_groups(module.lavida, 1))

    def coordinate_gradients():
        grads = gradients(module, module(batch, draw_all(batch, measured=False))["coordinate"][0])
        prefix = "lavida.shirg_x.coordinates"
        return (grads[f"{prefix}.{layer}.weight"].abs().sum() for layer in ("coord_out", "coord_linear"))

    out, linear = coordinate_gradients()
    assert out > 0
    assert linear == 0
    with torch.no_grad():
        embedding.coord_out.weight -= 0.01 * embedding.coord_out.weight.grad
    out, linear = coordinate_gradients()
    assert out > 0
    assert linear > 0


@pytest.mark.parametrize("prefix_lm", [False, True])
def test_distillation_reads_attention_at_detail_positions_only(prefix_lm, monkeypatch):
    model, handle = patched_model("learned")
    module = TrainingModel(model, handle, LossConfig(prefix_lm=prefix_lm, pointing_layers=(1,)))
    batch = make_batch([text_group(model), image_group(model)])
    drawn = draw_all(batch)

    def planted(given, places, heads):
        positions = given.hidden.shape[1]
        looks = torch.arange(1, positions + 1).float().expand(len(places), heads, places.shape[1], -1)
        return looks.log()

    monkeypatch.setattr(training, "log_attention", planted)
    pages = handle.encode_pages(batch.views, batch.image_sizes)
    attention = module._attention_to_patches(batch, drawn, pages)
    first, second = (batch.prompts[1] == -200).nonzero().flatten().tolist()
    scaffold, patches = 9, 144
    starts = (first + scaffold, second + 2 * scaffold + patches - 1)
    asked = int((batch.labels[1] != IGNORE_INDEX).sum())
    expected = torch.stack([torch.arange(start + 1, start + 1 + patches) * float(asked) for start in starts])
    assert_close(attention, expected)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_gradient_checkpointing_changes_no_gradient():
    found = []
    for switched in (False, True):
        module = training_model("learned")
        if switched:
            module.lavida.gradient_checkpointing_enable({"use_reentrant": False})
        module.train()
        assert all(block.gradient_checkpointing == switched for block in module.lavida.model.blocks)
        batch = make_batch(page_groups(module.lavida, 1))
        found.append(gradients(module, total_of(module(batch, draw_all(batch)))))
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        assert_close(found[1][name], grad, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    assert any("blocks.0.q_proj" in name for name in found[0])


@pytest.mark.parametrize("teacher", ["boxes", "attention", "gate"])
def test_everything_runs_under_bf16_autocast_and_returns_float32(teacher):
    module = training_model("learned", relevance_teacher=teacher, prefix_lm=teacher == "boxes")
    batch = make_batch([*page_groups(module.lavida, 1), text_group(module.lavida)])
    draws = draw_all(batch, gate=teacher == "gate")
    exact = module(batch, draws)
    with torch.autocast("cpu", torch.bfloat16):
        parts = module(batch, draws)
    assert parts.keys() == exact.keys()
    for name, (value, count) in parts.items():
        assert value.dtype == torch.float32, name
        assert int(count) == int(exact[name][1])
        if name != "budget":
            assert_close(value, exact[name][0], rtol=0.1, atol=0.1)
    grads = gradients(module, total_of(parts))
    assert all(bool(grad.isfinite().all()) for grad in grads.values())


def test_a_narrow_padded_image_keeps_what_it_has_instead_of_ending_the_run():
    """It has 144 / 3 patches at most, fewer than most budgets that are drawn."""
    model, handle = patched_model(resize="pad")
    module = TrainingModel(model, handle, LossConfig(budget_memory=1))
    group = (make_sample(model, "narrow", "What is <image>?", "yes", [block_image(40, 130, 1)]),)
    batch = make_batch([group])
    (count,) = handle.encode_pages(batch.views, batch.image_sizes, budget=1).candidate_counts
    assert count < 61  # the largest of the budgets that are measured
    parts = {budget: module(batch, draw_all(batch, budget=budget)) for budget in (count, count + 1, 144)}
    for name in parts[count]:
        assert_close(parts[count + 1][name], parts[count][name])
        assert_close(parts[144][name], parts[count][name])
    assert int(parts[144]["coordinate"][1]) == count
