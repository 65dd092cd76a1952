"""Whole runs: kinds of data, resuming, what is kept and logged, and mistakes that are told before the first step."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llava.train.config import TrainConfig
from llava.train.train import prepare_run
from scripts.train_shirg_x import main
from shirg.tiling import Grid
from tests.train_helpers import (
    ROOT,
    SHIRG,
    environment,
    logged,
    make_checkpoint,
    script_command,
    settings,
    write_config,
)

HELD_OUT = {"families": ["entity_grid"], "style": "shapes", "split": "validation", "questions": 2, "pages": 3}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


def train(checkpoint: Path, out: Path, *, resume: bool = False, **changes: Any) -> Path:
    return prepare_run(TrainConfig.from_dict(settings(checkpoint, out, **changes)), resume=resume).train()


def conversations(directory: Path, records: list[dict[str, Any]], name: str = "data.json") -> Path:
    """A LLaVA file, with one picture beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    Image.radial_gradient("L").convert("RGB").resize((61, 47)).save(directory / "page.png")
    path = directory / name
    path.write_text(json.dumps(records))
    return path


def record(number: int, *, image: bool = True, answer: str = "a red circle") -> dict[str, Any]:
    question = f"What is in place {number}?"
    turns = [{"from": "human", "value": f"<image>\n{question}" if image else question}]
    turns.append({"from": "gpt", "value": answer})
    return {"id": str(number), "conversations": turns} | ({"image": "page.png"} if image else {})


STEPS = 7
# Nine pages make epochs of three steps; LoRA's dropout is a chance that only the checkpoint knows.
RESUMED: dict[str, Any] = {
    "pages": {"families": ["entity_grid"], "style": "shapes", "questions": 2, "pages": 9},
    "trainable": {"scope": "shirg_x", "rank": 3, "coord_rank": 2, "dropout": 0.3},
    "trainer": {
        "max_steps": STEPS,
        "save_steps": 2,
        "save_total_limit": 9,
        "per_device_train_batch_size": 3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 2,
    },
}


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(checkpoint, out, **RESUMED)
    return logged(out)


class TestResuming:
    def test_a_killed_run_goes_on_with_the_losses_of_one_that_was_not(
        self, checkpoint: Path, tmp_path: Path, whole: list[dict[str, float]]
    ) -> None:
        out = tmp_path / "run"
        config = write_config(tmp_path, settings(checkpoint, out, **RESUMED))
        with (tmp_path / "log").open("w") as log:
            run = subprocess.Popen(
                script_command(config), cwd=ROOT, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
            deadline = time.monotonic() + 120
            # Between two checkpoints, wherever that finds the run.
            while not (out / "checkpoint-4" / "trainer_state.json").is_file() and time.monotonic() < deadline:
                time.sleep(0.005)
            os.killpg(run.pid, signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not (out / "final").exists()
        # A checkpoint that was cut short, without and with the beginning of its last file.
        for step, rest in ((100, None), (200, '{"global_step": 200, "log_hist')):
            half = out / f"checkpoint-{step}"
            shutil.copytree(out / "checkpoint-4", half)
            (half / "trainer_state.json").unlink()
            if rest is not None:
                (half / "trainer_state.json").write_text(rest)
        resumed = prepare_run(TrainConfig.from_dict(settings(checkpoint, out, **RESUMED)), resume=True)
        assert resumed.checkpoint is not None
        assert Path(resumed.checkpoint).name in ("checkpoint-4", "checkpoint-6")
        shutil.rmtree(out / "checkpoint-100")
        shutil.rmtree(out / "checkpoint-200")
        resumed.train()
        found = logged(out)
        assert [entry["step"] for entry in found] == list(range(1, STEPS + 1))
        for entry, wanted in zip(found, whole, strict=True):
            assert entry == pytest.approx(wanted, rel=1e-6)

    def test_what_changes_no_weight_may_change_and_nothing_else(self, checkpoint: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        train(checkpoint, out, trainer={"max_steps": 1, "save_steps": 1})
        config = write_config(tmp_path, settings(checkpoint, out, trainer={"max_steps": 1, "save_steps": 5}))
        assert main([str(config), "--resume"]) == 0


class TestMixtures:
    def test_texts_and_pages_train_together(self, checkpoint: Path, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(number, image=number % 3 == 0) for number in range(12)])
        final = train(
            checkpoint,
            tmp_path / "run",
            pages=None,
            mixture=str(data),
            shirg_x={**SHIRG, "similarity": "learned"},
            losses={"budget_every": 1, "pointing_layers": [0]},
            trainer={"per_device_train_batch_size": 1, "max_steps": 9},
        )
        assert (final / "adapter.json").is_file()
        losses = logged(tmp_path / "run")
        assert {"loss_budget" in entry for entry in losses} == {True, False}
        assert all(entry["loss_denoising"] > 0 for entry in losses)

    def test_lavidas_own_encoding_trains_on_texts_and_pages(self, checkpoint: Path, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(number, image=number % 2 == 0) for number in range(4)])
        train(
            checkpoint,
            tmp_path / "run",
            pages=None,
            mixture=str(data),
            shirg_x=None,
            trainable={"scope": "projector"},
            trainer={"per_device_train_batch_size": 1, "max_steps": 4},
        )
        assert all(entry["loss_denoising"] > 0 for entry in logged(tmp_path / "run"))

    def test_a_real_set_is_read_from_its_directory(self, checkpoint: Path, tmp_path: Path) -> None:
        home = tmp_path / "lcs"
        conversations(home, [record(number) for number in range(3)], "blip_laion_cc_sbu_558k.json")
        (home / "images").mkdir()
        (home / "page.png").rename(home / "images" / "page.png")
        train(
            checkpoint,
            tmp_path / "run",
            pages=None,
            real={"name": "lcs558k", "location": str(home)},
            trainer={"max_steps": 1, "per_device_train_batch_size": 2},
        )
        assert len(logged(tmp_path / "run")) == 1

    def test_bad_samples_are_reported_before_and_counted_in_training(
        self, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = conversations(tmp_path / "data", [record(0), {**record(1), "image": "gone.png"}, record(2)])
        train(
            checkpoint,
            tmp_path / "run",
            pages=None,
            mixture=str(data),
            max_missing_images=0.4,
            trainer={"max_steps": 1, "per_device_train_batch_size": 3},
        )
        assert "1 of 3 samples cannot be used (missing image: 1)" in caplog.text
        assert logged(tmp_path / "run")[0]["skipped"] == 1


class TestMistakes:
    """Each ends with exit code 2 and one clear line, before the first step."""

    @pytest.fixture
    def fail(self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
        def run(*words: str, out: str = "run", **changes: Any) -> str:
            config = write_config(tmp_path, settings(checkpoint, tmp_path / out, **changes))
            assert main([str(config), *words]) == 2
            stdout, stderr = capsys.readouterr()
            assert stdout == ""
            assert not (tmp_path / "run").exists()
            return stderr.splitlines()[-1]

        return run

    def test_there_is_no_data_file(self, fail: Any, tmp_path: Path) -> None:
        assert f"there is no data file at {tmp_path / 'gone.json'}" in fail(
            pages=None, mixture=str(tmp_path / "gone.json")
        )

    def test_the_data_are_no_json(self, fail: Any, tmp_path: Path) -> None:
        (tmp_path / "broken.json").write_text('[{"id": 1,')
        assert "not valid JSON" in fail(pages=None, mixture=str(tmp_path / "broken.json"))

    def test_every_image_is_missing(self, fail: Any, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(0), record(1)])
        (data.parent / "page.png").unlink()
        message = fail(pages=None, mixture=str(data))
        assert "2 of 2 samples cannot be used (missing image: 2)" in message

    def test_more_images_are_missing_than_is_allowed(self, fail: Any, tmp_path: Path) -> None:
        raws = [record(0), {**record(1), "image": "gone.png"}, record(2, image=False)]
        data = conversations(tmp_path / "data", raws)
        message = fail(pages=None, mixture=str(data), model="/nowhere/at/all")
        assert "/nowhere/at/all" in message
        message = fail(pages=None, mixture=str(data))
        assert "1 of the 2 images that were looked for are missing (data 1 of 2)" in message
        assert f"the first is {data.parent / 'gone.png'}" in message

    def test_low_precision_is_not_trained_without_copies(self, fail: Any) -> None:
        trainable = {"scope": "shirg_x", "rank": 3, "coord_rank": 2, "trainable_dtype": None}
        assert "bfloat16 weights without float32 copies lose updates" in fail(dtype="bfloat16", trainable=trainable)
        bf16 = fail(trainable={**trainable, "trainable_dtype": "bfloat16"}, trainer={"bf16": True})
        assert "set trainable_dtype: float32" in bf16

    def test_the_data_are_fewer_than_a_step_takes(self, fail: Any, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(0), record(1)])
        message = fail(pages=None, mixture=str(data), trainer={"max_steps": 1, "per_device_train_batch_size": 3})
        assert "the data have 2 samples, but a step takes 3" in message

    def test_an_answer_exceeds_the_context(self, fail: Any, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(0), record(1, answer="0 1 " * 4000)])
        assert "the answer alone has" in fail(pages=None, mixture=str(data))

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"train_budgets": [145]}, "train_budgets must lie from 1 to the 144 patches, got 145"),
            ({"shirg_x": {**SHIRG, "budget": 12}}, "budget"),
            (
                {"validation": HELD_OUT, "validation_budgets": [145]},
                "validation_budgets must be auto, question or from 1 to 144",
            ),
            ({"losses": {"pointing": 1}}, "pointing_layers must lie from 0 to 1 in this model"),
            ({"losses": {"grounding": 1, "grounding_heads": 5}}, "grounding_heads must be at most 4"),
            ({"pages": None}, "give exactly one of pages, mixture and real"),
            ({"pages": None, "real": {"name": "lcs"}}, "real: name must be one of"),
            ({"images": "x"}, "images is the folder of a mixture"),
            ({"held_out": 3}, "held_out is of a mixture or a real set"),
            ({"shirg_x": None, "losses": {"reading": 1}}, "reading needs shirg_x"),
            ({"trainer": {"learning_rate": 5.0}}, "learning_rate has no effect here; give trainable: learning_rates"),
            ({"max_bad_steps": 0}, "max_bad_steps must be a whole number of at least 1"),
            ({"max_missing_images": 2}, "max_missing_images must be a finite number from 0.0 to 1.0"),
            ({"trainer": {"eval_strategy": "steps"}}, "eval_strategy needs validation or held_out"),
            ({"trainer": {"deepspeed": "gone.json"}}, "gone.json"),
            (
                {"losses": {"speaking": 1}, "trainer": {"deepspeed": str(ROOT / "configs/deepspeed/zero3.json")}},
                "speaking reads the language model's head directly, which ZeRO-3 spreads",
            ),
            ({"trainable": {"scope": "shirg_x", "rnk": 3}}, "did you mean 'rank'"),
            ({"model": "/nowhere/at/all"}, "/nowhere/at/all"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_setting_is_wrong(self, fail: Any, changes: dict[str, Any], words: str) -> None:
        assert words in fail(**changes)

    def test_a_mixture_knows_no_places(self, fail: Any, tmp_path: Path) -> None:
        data = conversations(tmp_path / "data", [record(0)])
        learned = {**SHIRG, "similarity": "learned"}
        for losses in ({"reading": 1}, {"relevance_teacher": "boxes"}):
            message = fail(pages=None, mixture=str(data), shirg_x=learned, losses=losses)
            assert "needs drawn pages" in message

    def test_a_run_is_not_resumed_with_other_settings_nor_written_over(
        self, fail: Any, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        train(checkpoint, tmp_path / "done", trainer={"max_steps": 1, "save_steps": 1})
        capsys.readouterr()
        assert "holds checkpoints of an earlier run; resume it" in fail(out="done", trainer={"max_steps": 1})
        wide = {"scope": "shirg_x", "rank": 5, "coord_rank": 2}
        changed = fail("--resume", out="done", trainer={"max_steps": 1}, trainable=wide)
        assert "trainable.rank was 3, now 5" in changed


class TestWhatIsKept:
    def test_the_best_is_kept_over_a_resumption_and_tensorboard_is_written(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from llava.train.validation import Validation

        scores = iter([(1, 4), (3, 4), (2, 4), (2, 4), (2, 4)])
        monkeypatch.setattr(Validation, "count_right", lambda *_, **__: {(None, "what"): next(scores)})
        trainer = {"max_steps": 3, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 3}
        trainer["report_to"] = "tensorboard"
        values = settings(checkpoint, tmp_path / "run", validation=HELD_OUT, trainer=trainer)
        config = write_config(tmp_path, values)
        assert main([str(config)]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'run' / 'final'}\n"
        best = json.loads((tmp_path / "run" / "best" / "results.json").read_text())
        assert (best["step"], best["eval_exact_match"]) == (2, 0.75)
        assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
        run = prepare_run(TrainConfig.from_dict(values), resume=True)
        run.train()
        run.trainer.evaluate()
        best = json.loads((tmp_path / "run" / "best" / "results.json").read_text())
        assert best["eval_exact_match"] == 0.75

    def test_held_out_pages_are_asked_by_kind_and_budget(self, checkpoint: Path, tmp_path: Path) -> None:
        run = prepare_run(
            TrainConfig.from_dict(
                settings(
                    checkpoint,
                    tmp_path / "run",
                    validation=HELD_OUT,
                    validation_budgets=[13, "auto"],
                    trainer={"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1},
                )
            )
        )
        run.train()
        metrics = run.trainer.evaluate()
        assert {"eval_exact_match_at_13", "eval_exact_match_at_auto"} <= set(metrics)
        assert all(0 <= value <= 1 for value in metrics.values())

    def test_auto_is_the_head_s_own_choice_which_training_never_asks_for(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = settings(
            checkpoint, tmp_path / "run", validation=HELD_OUT, shirg_x={**SHIRG, "budget": 17}, trainer={"max_steps": 2}
        )
        run = prepare_run(TrainConfig.from_dict({**values, "losses": {"budget": 0}}))
        assert run.trainer.model.handle.config.budget == "auto"  # whatever the stage's own budget is
        asked = []

        def choose(
            pixels: torch.Tensor, grids: tuple[Grid, ...], counts: tuple[int, ...], budget: int | str
        ) -> tuple[int, ...]:
            if isinstance(budget, int):
                return (budget,) * len(counts)
            asked.append(len(counts))
            return (13,) * len(counts)

        monkeypatch.setattr(run.trainer.model.handle, "_budgets", choose)
        run.train()
        assert asked == []
        run.trainer.evaluate()
        assert sum(asked) == HELD_OUT["pages"]

    def test_a_checkpoint_holds_what_trains_and_no_more(self, checkpoint: Path, tmp_path: Path) -> None:
        from safetensors.torch import load_file

        config = settings(checkpoint, tmp_path / "run", trainer={"max_steps": 1, "save_steps": 1})
        run = prepare_run(TrainConfig.from_dict(config))
        run.train()
        held = load_file(tmp_path / "run" / "checkpoint-1" / "trainable.safetensors")
        live = {name: value for name, value in run.trainer.model.named_parameters() if value.requires_grad}
        assert held.keys() == live.keys()
        for name, value in held.items():
            torch.testing.assert_close(value, live[name].detach())
