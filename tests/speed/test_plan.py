"""The plan of a run: its formulas against what autograd keeps and what a step really computes."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import SiglipVisionConfig

from lavida_shirg_integration import apply_shirg_x
from llava.data.batch import make_batch
from llava.model import LlavaLladaConfig
from llava.model.builder import load_pretrained_model
from llava.speed.floors import vision_flops
from llava.speed.plan import (
    PlannedRun,
    activation_elements,
    plan_rows,
    plan_training,
    tower_activation_elements,
)
from llava.speed.workload import FULL_SIZE_VISION
from llava.train.losses.config import LossConfig
from llava.train.losses.objective import draw_masks, masked_diffusion_loss
from llava.train.model import TrainingModel
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import prepare_trainable
from shirg.config import ShirgXConfig
from tests.integration_helpers import IMAGES, SMALL, ask, views_and_sizes
from tests.losses_helpers import SHIRG_X, draw_all, page_groups, patched_model, total_of

ANSWER = 6

ATEN = torch.ops.aten
# Not every version of torch that is supported counts the CPU's attention by itself.
CPU_ATTENTION = {
    ATEN._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: sdpa_flop_count(
        query, key, value
    ),
    ATEN._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, query, key, value, *_, **__: sdpa_backward_flop_count(grad, query, key, value)
    ),
}


@pytest.fixture(scope="module")
def full_size() -> LlavaLladaConfig:
    return LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION)


@pytest.fixture
def tiny(tiny_checkpoint):
    return load_pretrained_model(tiny_checkpoint, device_map="cpu")


def kept_elements(model, run) -> float:
    """Numbers that autograd keeps while ``run`` goes forward, apart from parameters and constants."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = run()
    assert output.requires_grad
    return sum(storage.nbytes() for storage in kept.values()) / 4


class TestActivations:
    LENGTH = 97

    @pytest.mark.parametrize(
        ("scope", "checkpointing"),
        [("shirg_x", False), ("shirg_x", True), ("shirg_x_expanded", False), ("everything", False)],
    )
    def test_the_language_model_keeps_what_the_formula_says(self, tiny, scope, checkpointing):
        model, config = tiny[1], TrainableConfig(scope=scope, rank=3)
        apply_shirg_x(model, SMALL, weights=False)
        prepare_trainable(model, config)
        if checkpointing:
            model.model.set_activation_checkpointing("whole_layer")
        embeds = torch.randn(1, self.LENGTH, model.config.d_model, requires_grad=True)
        found = kept_elements(model.train(), lambda: model.model(embeds))
        rank = config.ranks["language"] if scope == "shirg_x_expanded" else 0
        layer = activation_elements(model.config, self.LENGTH, lora_rank=rank, full=scope == "everything")
        layer = (layer - self.LENGTH * model.config.d_model) / model.config.n_layers
        expected = activation_elements(
            model.config, self.LENGTH, lora_rank=rank, full=scope == "everything", checkpointing=checkpointing
        )
        # The layer that is computed again exists only during the backward pass.
        expected -= layer if checkpointing else 0
        assert found == pytest.approx(expected, rel=0.09)

    def test_a_tower_that_trains_keeps_what_the_formula_says(self, tiny):
        model = tiny[1]
        prepare_trainable(model, TrainableConfig(scope="everything"))
        pixels = torch.randn(1, 3, 384, 384)
        found = kept_elements(model, lambda: model.get_vision_tower()(pixels)) - pixels.numel()
        patches = model.get_vision_tower().num_patches
        assert found == pytest.approx(tower_activation_elements(model, patches), rel=0.09)
        kept = patches * model.get_vision_tower().num_layers_run * model.get_vision_tower().hidden_size
        layer = tower_activation_elements(model, patches) / model.get_vision_tower().num_layers_run
        assert tower_activation_elements(model, patches, checkpointing=True) == kept + layer


class TestArithmetic:
    @pytest.mark.parametrize(
        ("scope", "patched", "checkpointing"),
        [
            ("shirg_x", True, False),
            ("shirg_x", True, True),
            ("shirg_x_expanded", True, False),
            ("everything", True, False),
            ("everything", False, False),
            ("projector", False, False),
        ],
    )
    def test_a_step_computes_what_was_planned(self, tiny, scope, patched, checkpointing):
        model, config = tiny[1], TrainableConfig(scope=scope, rank=3)
        shirg = SMALL.replace(budget=SMALL.budgets[1]) if patched else None
        image = IMAGES[1]
        if shirg is not None:
            apply_shirg_x(model, shirg, weights=False)
        prepare_trainable(model, config)
        if checkpointing:
            model.model.set_activation_checkpointing("whole_layer")
        views, sizes = views_and_sizes(tiny, model, [image])
        ids = ask(tiny, "What is the total?", "12 EUR")
        labels = torch.where(torch.arange(len(ids)) < len(ids) - ANSWER, -100, ids)
        model.train()
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
            batch = model.prepare_inputs(ids[None], images=views, image_sizes=sizes, labels=labels[None])
            loss = masked_diffusion_loss(model, batch, draw_masks(batch.labels, torch.Generator().manual_seed(1)))
            loss.loss.backward()
        run = PlannedRun(
            samples=1,
            prompt_tokens=len(ids) - 1 - ANSWER,
            answer_tokens=ANSWER,
            image_size=image.size,
            gradient_checkpointing=checkpointing,
            budget_every=0,
        )
        plan = plan_training(model.config, config, shirg, run)
        name = "LaViDa" if shirg is None else f"SHIRG-X, K = {shirg.budget}"
        assert plan.tokens[name] == batch.embeds.shape[1]
        assert sum(plan.flops.values()) == pytest.approx(counter.get_total_flops(), rel=0.03)

    @pytest.mark.parametrize(("teacher", "gate"), [("boxes", False), ("attention", False), ("gate", True)])
    def test_teachers_and_measurements_are_counted_as_a_step_makes_them(self, teacher, gate):
        """All of a training step, with what teaches the relevance and measures the budgets."""
        losses = {"coordinate": 0.0, "relevance_teacher": teacher, "pointing_layers": [0, 1]}
        model, handle = patched_model("learned")
        trainable = TrainableConfig(scope="shirg_x", rank=3, coord="full")
        prepare_trainable(model, trainable)
        module = TrainingModel(model, handle, LossConfig.from_dict(losses), drawn=True).train()
        (group,) = page_groups(model, 1)
        batch = make_batch([group[:1]])
        found = {}
        for measured in (False, True):
            draws = draw_all(batch, budget=SHIRG_X.budgets[1], measured=measured, gate=gate)
            with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
                total_of(module(batch, draws)).backward()
            found[measured] = counter.get_total_flops()
        answer = batch.num_labeled
        run = PlannedRun(
            samples=1,
            prompt_tokens=len(batch.prompts[0]) - 1 - answer,
            answer_tokens=answer,
            image_size=batch.image_sizes[0],
            gradient_checkpointing=False,
            budget_every=1,
            budget_draws=4,
            teacher=None if teacher == "boxes" else teacher,
            looked_at_layers=2,
        )
        # The middle budget is as long as all three on average, and a step under the gate sees every patch.
        shirg = SHIRG_X.replace(similarity="learned", budget="auto", budgets=[42, 43, 44])
        flops = dict(plan_training(model.config, trainable, shirg, run).flops)
        measuring = flops.pop("budget labels")
        assert measuring == pytest.approx(found[True] - found[False], rel=0.05)
        planned = sum(flops.values())
        assert (planned < found[False]) if gate else planned == pytest.approx(found[False], rel=0.05)

    def test_budget_labels_are_forward_passes_shared_by_the_steps_between(self, full_size):
        often, never = (
            plan_training(full_size, TrainableConfig(), ShirgXConfig(), PlannedRun(samples=7, budget_every=every))
            for every in (10, 0)
        )
        assert "budget labels" not in never.flops
        assert often.flops["budget labels"] == pytest.approx(12 * often.flops["language model forward"] / 10)
        fixed = plan_training(full_size, TrainableConfig(), ShirgXConfig(budget=512), PlannedRun(samples=7))
        assert fixed.flops["budget labels"] == pytest.approx(4 * fixed.flops["language model forward"] / 50)

    def test_comparing_projected_patches_with_words_projects_them_all(self, full_size):
        projected, learned = (
            plan_training(full_size, TrainableConfig(), ShirgXConfig(similarity=source), PlannedRun(samples=3))
            for source in ("projected", "learned")
        )
        more = projected.flops["encoding images"] - learned.flops["encoding images"]
        assert more == pytest.approx(2304 * 2 * (1152 * 4096 + 4096**2))


class TestPlan:
    def test_full_size_numbers(self, full_size):
        plan = plan_training(full_size, TrainableConfig(), ShirgXConfig(), PlannedRun(samples=100_000))
        assert sum(plan.trainable.values()) == 612_643
        assert sum(plan.parameters.values()) == 8_434_837_024 + 640 + 612_643
        assert plan.tokens == {
            "LaViDa": 1008 + 80,
            "SHIRG-X, K = 512": 144 + 512 + 80,
            "SHIRG-X, K = 768": 144 + 768 + 80,
            "SHIRG-X, K = 1,024": 144 + 1024 + 80,
        }
        assert plan.memory["weights"] == pytest.approx(16.87e9, rel=1e-3)
        assert plan.memory["logits"] == 10 * 4 * 32 * 126_464
        # Two copies, mean length 992: 2 x 7.0e9 weights x 1,984 positions, and a little attention.
        assert plan.flops["language model forward"] == pytest.approx(2 * 6.98e9 * 1984, rel=0.06)

    @pytest.mark.parametrize(
        ("stage", "split"), [(0, (1, 1, 1)), (1, (1, 1, 5)), (2, (1, 5, 5)), (3, (5, 5, 5))], ids=str
    )
    def test_zero_splits_what_its_stage_says(self, full_size, stage, split):
        config = TrainableConfig(scope="shirg_x_expanded")
        run = PlannedRun(samples=10, processes=5, zero_stage=stage)
        plan = plan_training(full_size, config, ShirgXConfig(similarity="learned"), run)
        trained, total = sum(plan.trainable.values()), sum(plan.parameters.values())
        assert trained == 68_393_251
        expected = (2 * total / split[0], 2 * trained / split[1], 12 * trained / split[2])
        assert tuple(plan.memory[name] for name in ("weights", "gradients", "Adam")) == pytest.approx(expected)

    def test_checkpointing_trades_memory_for_arithmetic(self, full_size):
        kept, again = (
            plan_training(
                full_size, TrainableConfig(), ShirgXConfig(), PlannedRun(samples=3, gradient_checkpointing=switch)
            )
            for switch in (False, True)
        )
        assert again.memory["activations"] < kept.memory["activations"] / 5
        assert again.flops["computing again"] < again.flops["language model forward"]
        assert "computing again" not in kept.flops

    def test_time_follows_from_arithmetic_or_from_what_was_measured(self, full_size):
        run = PlannedRun(samples=1000, epochs=3, processes=2, batch=7, accumulation=3, utilization=0.5)
        plan = plan_training(full_size, TrainableConfig(), ShirgXConfig(), run)
        assert run.steps == 3 * math.ceil(1000 / 42)
        assert plan.seconds == pytest.approx(3000 * sum(plan.flops.values()) / (2 * 0.5 * 312e12))
        measured = PlannedRun(samples=1000, epochs=3, samples_per_second=12.5)
        assert plan_training(full_size, TrainableConfig(), ShirgXConfig(), measured).seconds == 240

    def test_rows_say_what_was_assumed_and_what_the_targets_are(self, full_size):
        run = PlannedRun(samples=100_000, samples_per_second=10.0)
        rows = plan_rows(plan_training(full_size, TrainableConfig(), ShirgXConfig(), run))
        text = [f"{name}: {value}" for name, value in rows]
        assert "parameters: 8,435,450,307, trainable 612,643 (0.0073%)" in text
        assert "steps: 3,125 = 100,000 samples x 1 / (8 GPUs x 4 x 1)" in text
        assert "expected time: 2.78 h (10.00 samples/s, measured)" in text
        assert "target time: about 5 h on 8 x A100, in which this run would see 180,000 samples" in text
        assert "target size: about 65M trainable parameters (0.8 %); here 0.61M" in text
        assumed = plan_rows(plan_training(full_size, TrainableConfig(), ShirgXConfig(), PlannedRun(samples=9)))
        assert dict(assumed)["expected time"].endswith("h (40% of the peak of 8 x A100-SXM4-80GB, assumed)")

    def test_the_config_stays_as_it_is(self, full_size):
        before = full_size.to_dict()
        plan = plan_training(full_size, TrainableConfig(), ShirgXConfig(similarity="attention"), PlannedRun(samples=3))
        assert full_size.to_dict() == before
        stock = plan_training(full_size, TrainableConfig(scope="everything"), None, PlannedRun(samples=3))
        assert plan.parameters["tower"] > stock.parameters["tower"], "the scoring layers take memory"
        assert set(stock.tokens) == {"LaViDa"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"samples": 0}, "samples must be a whole number"),
            ({"epochs": 1.5}, "epochs"),
            ({"zero_stage": 4}, "zero_stage must be one of 0, 1, 2, 3"),
            ({"utilization": 0}, "utilization must be above 0"),
            ({"utilization": 1.5}, "at most 1"),
            ({"samples_per_second": 0.0}, "leave it out"),
            ({"device": "abacus"}, "the peak of device 'abacus' is not known"),
            ({"image_size": [768]}, "width and a height"),
            ({"gpus": 8}, "unknown setting 'gpus'"),
        ],
        ids=str,
    )
    def test_a_run_that_cannot_be(self, values, message):
        with pytest.raises(ValueError, match=message):
            PlannedRun.from_dict({"samples": 5, **values})

    def test_a_sample_beyond_the_context(self, full_size):
        run = PlannedRun(samples=5, prompt_tokens=2900)
        with pytest.raises(ValueError, match="4100 positions, more than the 4096"):
            plan_training(full_size, TrainableConfig(), ShirgXConfig(), run)

    def test_shirg_x_without_its_settings(self, full_size):
        with pytest.raises(ValueError, match="SHIRG-X"):
            plan_training(full_size, TrainableConfig(), ShirgXConfig(mode="stock"), PlannedRun(samples=5))


def test_tiles_cost_the_tower_and_nobody_else(full_size):
    run, trainable = PlannedRun(samples=1000, budget_every=0), TrainableConfig(scope="shirg_x")
    plans = {
        tiles: plan_training(full_size, trainable, ShirgXConfig(tiles=tiles, similarity="learned"), run)
        for tiles in (1, "2x2", "auto")
    }
    one, four = plans[1].flops, plans["2x2"].flops
    tower = vision_flops(SiglipVisionConfig(**FULL_SIZE_VISION), 26, 2304)
    assert tower == pytest.approx(2.46e12, rel=0.01)
    assert four["encoding images"] - one["encoding images"] == pytest.approx(3 * tower)
    assert {name: value for name, value in one.items() if name != "encoding images"} == {
        name: value for name, value in four.items() if name != "encoding images"
    }
    assert plans["2x2"].tokens == plans[1].tokens
    assert plans["auto"].flops == one, "an image of 768 x 768 fills one view"
