"""Laws of a training step: what moves, what the answer must not reach, and that a fixed batch is learned."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lavida_shirg_integration import ShirgXHandle, ShirgXPrefix
from llava.data.batch import collate
from llava.train.config import TrainConfig
from llava.train.stability import StabilityCallback, StabilityMonitor
from llava.train.train import Run, prepare_run
from tests.train_helpers import SHIRG, logged, make_checkpoint, settings

LEARNED = {**SHIRG, "similarity": "learned"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


@pytest.fixture
def prepare(checkpoint: Path, tmp_path: Path) -> Any:
    def run(**changes: Any) -> Run:
        return prepare_run(TrainConfig.from_dict(settings(checkpoint, tmp_path / "run", **changes)))

    return run


def parameters_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in run.trainer.model.named_parameters()}


class TestWhatMoves:
    @pytest.mark.parametrize(
        "changes",
        [
            {"shirg_x": LEARNED, "losses": {"budget_every": 1, "relevance_teacher": "boxes"}},
            {"shirg_x": LEARNED, "losses": {"budget_every": 1, "pointing_layers": [0, 1]}},
            {"shirg_x": LEARNED, "losses": {"budget_every": 1, "relevance_teacher": "gate"}},
            {
                "trainable": {"scope": "everything"},
                "losses": {"budget_every": 1, "reading": 1, "alignment": 1, "pointing": 1, "pointing_layers": [0]},
            },
            {"trainable": {"scope": "shirg_x_expanded", "rank": 2}, "losses": {"budget_every": 1}},
        ],
        ids=["boxes", "attention", "gate", "everything", "expanded"],
    )
    def test_all_that_trains_has_moved_after_three_steps_and_nothing_else(self, prepare: Any, changes: Any) -> None:
        run = prepare(**changes, trainer={"max_steps": 3})
        before = parameters_of(run)
        trains = {name for name, value in run.trainer.model.named_parameters() if value.requires_grad}
        run.train()
        moved = {name for name, value in parameters_of(run).items() if not torch.equal(value, before[name])}
        assert any(name.startswith("lavida.shirg_x.budget_head.") for name in moved)
        assert moved == trains


class TestAnswers:
    def test_the_answer_never_reaches_the_choice_of_tokens(self, prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        run = prepare(shirg_x=LEARNED, losses={"budget": 0, "relevance_teacher": "boxes"})
        trainer = run.trainer
        model = trainer.model.train()
        chosen: list[torch.Tensor] = []
        original = ShirgXHandle.select_tokens

        def noted(self: ShirgXHandle, *args: Any, **options: Any) -> ShirgXPrefix:
            prefix = original(self, *args, **options)
            chosen.append(prefix.selection.kept)
            return prefix

        monkeypatch.setattr(ShirgXHandle, "select_tokens", noted)
        batch = collate([trainer.train_dataset[index] for index in range(3)])["batch"]
        draws = trainer.draw(batch)
        losses = []
        for shift in (0, 5):
            for prompt, labels in zip(batch.prompts, batch.labels, strict=True):
                answer = labels != -100
                labels[answer] = (labels[answer] + shift) % 300
                prompt[answer] = labels[answer]
            losses.append(model(batch, draws)["denoising"][0])
        assert losses[0] != losses[1]
        torch.testing.assert_close(chosen[1], chosen[0], rtol=0, atol=0)
        with torch.no_grad():
            for word in model.lavida.shirg_x.relevance.parameters():
                word.normal_()
        model(batch, draws)
        assert not torch.equal(chosen[2], chosen[0])


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.3, 6, 24), (1.0, 50, 50)])
def test_a_share_of_steps_chooses_tokens_at_random(prepare: Any, share: float, least: int, most: int) -> None:
    run = prepare(losses={"budget": 0}, random_selection=share)
    trainer = run.trainer
    batch = collate([trainer.train_dataset[0]])["batch"]
    seeds = []
    for step in range(50):
        trainer.state.global_step = step
        seeds.append(trainer.draw(batch).selection_seed)
    drawn = [seed for seed in seeds if seed is not None]
    assert least <= len(drawn) <= most
    assert len(set(drawn)) == len(drawn)


def test_the_share_of_steps_that_tell_the_truth_shrinks_to_none(prepare: Any) -> None:
    run = prepare(losses={"budget": 0})
    trainer = run.trainer
    batch = collate([trainer.train_dataset[0]])["batch"]
    trainer.config = replace(
        trainer.config, told_truth=1.0, shirg_x=trainer.config.shirg_x.replace(similarity="matched")
    )
    trainer.state.max_steps = 300
    told = []
    for step in range(300):
        trainer.state.global_step = step
        told.append(trainer.draw(batch).tells_truth)
    thirds = [sum(told[start : start + 100]) for start in (0, 100, 200)]
    assert thirds[0] > 70 > thirds[1] > 30 > thirds[2] > 0


class TestLearning:
    def test_the_loss_falls_on_a_fixed_batch(self, prepare: Any, tmp_path: Path) -> None:
        prepare(
            pages={"families": ["entity_grid"], "style": "shapes", "questions": 2, "pages": 4},
            trainable={"scope": "everything", "learning_rates": {"language": 1.0e-2, "projector": 1.0e-2}},
            losses={"budget": 0},
            trainer={"max_steps": 40, "num_train_epochs": 40, "save_steps": 40},
        ).train()
        losses = [entry["loss_denoising"] for entry in logged(tmp_path / "run")]
        assert sum(losses[-5:]) < 0.6 * sum(losses[:5])

    def test_accumulated_steps_give_the_losses_of_whole_ones(self, checkpoint: Path, tmp_path: Path) -> None:
        found = []
        for batch, accumulation in ((4, 1), (2, 2)):
            out = tmp_path / f"accumulated_{accumulation}"
            changes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
            config = settings(checkpoint, out, losses={"budget": 0, "coordinate": 0}, trainer=changes)
            prepare_run(TrainConfig.from_dict(config)).train()
            found.append([entry["loss"] for entry in logged(out)])
        torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=1e-5, atol=1e-5)

    def test_checkpointing_changes_no_loss(self, checkpoint: Path, tmp_path: Path) -> None:
        found = []
        for name, saves in (("kept", False), ("again", True)):
            changes: dict[str, Any] = {"gradient_checkpointing": saves, "trainer": {"max_steps": 3}}
            prepare_run(TrainConfig.from_dict(settings(checkpoint, tmp_path / name, **changes))).train()
            found.append([entry["loss"] for entry in logged(tmp_path / name)])
        torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=1e-6, atol=1e-6)


class TestStability:
    def test_a_loss_that_jumps_twice_is_told_and_one_jump_is_not(self) -> None:
        monitor = StabilityMonitor()
        assert [monitor.update(2.0 + 0.1 * (step % 3)) for step in range(15)] == [None] * 15
        assert monitor.update(4.0) is None
        assert monitor.update(2.0) is None
        assert monitor.update(4.0) is None
        told = monitor.update(4.1)
        assert told is not None
        assert "rose to 4.1" in told

    @pytest.mark.parametrize(("loss", "norm", "word"), [(math.nan, 1.0, "loss"), (1.0, math.inf, "gradient norm")])
    def test_what_is_no_number_is_told_at_once(self, loss: float, norm: float, word: str) -> None:
        assert f"the {word} is" in str(StabilityMonitor().update(loss, norm))

    def test_the_warning_names_rank_16(self, prepare: Any, caplog: pytest.LogCaptureFixture) -> None:
        prepare(
            trainable={
                "scope": "shirg_x",
                "rank": 17,
                "learning_rates": {"projector": 1.0e30, "coordinates": 1.0e30, "other": 1.0e30},
            },
            trainer={"max_steps": 3, "max_grad_norm": 0},
        ).train()
        assert "set trainable: rank: 16 (it is 17)" in caplog.text

    def test_without_lora_or_at_rank_16_it_names_other_ways(self) -> None:
        for uses_lora, rank in ((True, 16), (False, 32)):
            assert "rank: 16" not in StabilityCallback(uses_lora=uses_lora, rank=rank).advice
