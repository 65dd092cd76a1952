"""Runs that are disturbed: each ends with the right code, keeps its last good checkpoint, and is resumed to the same
losses as one that was not."""

import errno
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info
from transformers import TrainerCallback

from llava.data.page_data import PageDataset
from llava.train.config import TrainConfig
from llava.train.earlier import _check_same as check_same
from llava.train.ending import FAILED, SAVED, RunEndedError
from llava.train.faults import explain
from llava.train.launch import code_of
from llava.train.model import TrainingModel
from llava.train.train import Run, prepare_run
from scripts.train_shirg_x import main
from tests.train_helpers import logged, make_checkpoint, settings, write_config

STEPS = 5
CHANGES: dict[str, Any] = {
    "pages": {"families": ["entity_grid"], "style": "shapes", "questions": 1, "pages": 6},
    # LoRA's dropout is a chance that only the checkpoint knows.
    "trainable": {"scope": "shirg_x", "rank": 3, "coord_rank": 2, "dropout": 0.3},
    # What is measured in one step is learned from in the next ones, which a resume may come between.
    "losses": {"budget_every": 3},
    "trainer": {"max_steps": STEPS, "save_steps": 2, "save_total_limit": 9, "per_device_train_batch_size": 2},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fresh") / "model")


Prepare = Callable[..., Run]


@pytest.fixture
def values(checkpoint: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def values(**trainer: Any) -> dict[str, Any]:
        return settings(checkpoint, tmp_path / "run", **{**CHANGES, "trainer": {**CHANGES["trainer"], **trainer}})

    return values


@pytest.fixture
def prepare(values: Callable[..., dict[str, Any]]) -> Prepare:
    def prepare(*, resume: bool = False, **trainer: Any) -> Run:
        return prepare_run(TrainConfig.from_dict(values(**trainer)), resume=resume)

    return prepare


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What a run logs that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    prepare_run(TrainConfig.from_dict(settings(checkpoint, out, **CHANGES))).train()
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(1, STEPS + 1))
    told = entries[0]
    assert {"grad_norm", "samples_per_second", "answer_tokens_per_second", "hours_left", "gigabytes"} <= told.keys()
    assert {"learning_rate_projector", "learning_rate_coordinates"} <= told.keys()
    assert any(name.startswith("loss_denoising_at_") for name in told)
    return logged(out)


def check_resumed(run: Run, whole: list[dict[str, float]]) -> None:
    run.train()
    found = logged(Path(run.config.out))
    assert [entry["step"] for entry in found] == list(range(1, STEPS + 1))
    for entry, wanted in zip(found, whole, strict=True):
        assert entry == pytest.approx(wanted, rel=1e-6)
    lines = (Path(run.config.out) / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if '"loss"' in line] == list(range(1, STEPS + 1))


class TestStepsThatAreNoNumbers:
    @staticmethod
    def spoil(run: Run, monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
        """Make the losses of some steps NaN, as numbers in the data that are none do."""
        forward = TrainingModel.forward

        def spoiled(self: TrainingModel, *args: Any) -> Any:
            parts = dict(forward(self, *args))
            if run.trainer.state.global_step + 1 in steps:
                parts["denoising"] = (parts["denoising"][0] * math.nan, parts["denoising"][1])
            return parts

        monkeypatch.setattr(TrainingModel, "forward", spoiled)

    def test_some_in_a_row_end_the_run_and_name_the_last_good_checkpoint(
        self, prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = prepare(save_steps=1, max_steps=9)
        self.spoil(run, monkeypatch, {3, 4, 5, 6, 7, 8, 9})
        with pytest.raises(RunEndedError) as ended:
            run.train()
        assert ended.value.code == FAILED
        out = tmp_path / "run"
        assert "steps 3 to 5 are no numbers (gradient norm nan)" in str(ended.value)
        assert f"the last good checkpoint is {out / 'checkpoint-1'} ({out / 'checkpoint-2'} holds" in str(ended.value)
        assert sorted(place.name for place in out.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
        assert not (out / "final").exists()
        for name, weight in run.trainer.model.named_parameters():
            assert weight.isfinite().all(), name

    def test_a_single_one_changes_no_weight_and_is_counted(
        self, prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = prepare(max_steps=3)
        self.spoil(run, monkeypatch, {2})
        run.train()
        entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        assert [entry.get("bad_steps") for entry in entries if "loss" in entry] == [None, 1, 1]
        assert entries[1]["loss"] == "nan"
        assert (tmp_path / "run" / "final").is_dir()

    def test_a_rate_beyond_all_numbers_ends_it_with_exit_code_1(
        self, values: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rates = dict.fromkeys(("projector", "coordinates"), 1e30)
        config = {**values(save_steps=1), "trainable": {**CHANGES["trainable"], "learning_rates": rates}}
        assert main([str(write_config(tmp_path, config))]) == FAILED
        message = capsys.readouterr().err.splitlines()[-1]
        assert "no number" in message
        assert not (tmp_path / "run" / "final").exists()


def at_step(step: int, action: Callable[[], None]) -> TrainerCallback:
    class Acting(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step + 1 == step:
                action()

    return Acting()


class TestDisturbed:
    def test_told_to_end_it_saves_and_goes_on_with_the_same_losses(
        self, prepare: Prepare, tmp_path: Path, whole: list[dict[str, float]]
    ) -> None:
        before = signal.getsignal(signal.SIGTERM)
        run = prepare()
        run.trainer.add_callback(at_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        with pytest.raises(RunEndedError, match=r"told to end .* saved as .*checkpoint-3 after step 3") as ended:
            run.train()
        assert ended.value.code == SAVED
        assert signal.getsignal(signal.SIGTERM) == before
        assert not (tmp_path / "run" / "final").exists()
        resumed = prepare(resume=True)
        assert Path(str(resumed.checkpoint)).name == "checkpoint-3"
        check_resumed(resumed, whole)

    def test_a_full_disk_keeps_the_last_whole_checkpoint(
        self, prepare: Prepare, tmp_path: Path, whole: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, save = prepare(), torch.save

        def full(state: Any, place: Any, *args: Any, **options: Any) -> None:
            if run.trainer.state.global_step == 4 and str(place).endswith("scheduler.pt"):
                Path(place).write_bytes(b"PK")
                raise OSError(errno.ENOSPC, "No space left on device")
            save(state, place, *args, **options)

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(RunEndedError, match=r"checkpoint of step 4 cannot .* No space left.*checkpoint-2 is whole"):
            run.train()
        monkeypatch.undo()
        assert [place.name for place in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
        check_resumed(prepare(resume=True), whole)
        assert not (tmp_path / "run" / ".saving").exists()

    def test_a_data_worker_that_is_killed_ends_the_run_with_a_mend(
        self, values: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def die(self: PageDataset, index: int) -> Any:
            if get_worker_info() is not None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, index)

        original = PageDataset.__getitem__
        monkeypatch.setattr(PageDataset, "__getitem__", die)
        assert main([str(write_config(tmp_path, values(dataloader_num_workers=1)))]) == FAILED
        assert "a process that reads data was killed" in capsys.readouterr().err.splitlines()[-1]

    def test_a_data_worker_outlives_a_signal_that_all_processes_are_sent(
        self, prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a scheduler or torchrun sends it: not by the trainer itself, which workers obey at once."""

        def note(self: PageDataset, index: int) -> Any:
            if get_worker_info() is not None:
                (tmp_path / "worker").write_text(str(os.getpid()))
            return original(self, index)

        original = PageDataset.__getitem__
        monkeypatch.setattr(PageDataset, "__getitem__", note)
        run = prepare(dataloader_num_workers=1)

        def signal_all() -> None:
            worker = (tmp_path / "worker").read_text()
            subprocess.run(["sh", "-c", f"kill -TERM {worker} {os.getpid()}"], check=True)
            time.sleep(0.5)  # a worker that obeys is gone by then, and the trainer has been told

        run.trainer.add_callback(at_step(2, signal_all))
        with pytest.raises(RunEndedError, match="after step 2") as ended:
            run.train()
        assert ended.value.code == SAVED

    def test_a_data_worker_that_dies_in_the_middle_costs_the_steps_since_the_last_checkpoint(
        self, prepare: Prepare, tmp_path: Path, whole: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(self: PageDataset, index: int) -> Any:
            if get_worker_info() is not None and (tmp_path / "die").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, index)

        original = PageDataset.__getitem__
        monkeypatch.setattr(PageDataset, "__getitem__", die)
        run = prepare(dataloader_num_workers=1)
        # The second epoch's worker begins after the third step.
        run.trainer.add_callback(at_step(3, (tmp_path / "die").touch))
        with pytest.raises(RuntimeError) as ended:
            run.train()
        assert "a process that reads data was killed" in str(explain(ended.value))
        monkeypatch.undo()
        resumed = prepare(resume=True)
        assert Path(str(resumed.checkpoint)).name == "checkpoint-2"
        check_resumed(resumed, whole)

    def test_a_file_that_may_not_grow_is_a_full_disk(
        self, prepare: Prepare, tmp_path: Path, whole: list[dict[str, float]]
    ) -> None:
        """By the system's own limit, which every writer meets: torch, safetensors and this project."""
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        run = prepare()
        largest = 4096
        run.trainer.add_callback(at_step(4, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))))
        try:
            with pytest.raises(
                RunEndedError, match=r"checkpoint of step 4 cannot be written .*checkpoint-2 is whole"
            ) as ended:
                run.train()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert ended.value.code == FAILED
        assert [place.name for place in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
        check_resumed(prepare(resume=True), whole)

    def test_a_damaged_or_incomplete_checkpoint_is_named_with_the_one_before(
        self, prepare: Prepare, tmp_path: Path
    ) -> None:
        prepare(max_steps=4).train()
        last = tmp_path / "run" / "checkpoint-4"
        kept = tmp_path / "kept"
        shutil.copytree(last, kept)
        for name in ("optimizer.pt", "trainable.safetensors", "rng_state.pth", "budget_memory_0.safetensors"):
            data = (last / name).read_bytes()
            (last / name).write_bytes(data[: len(data) // 2])
            with pytest.raises(ValueError, match=r"checkpoint-4 is damaged .*goes on from .*checkpoint-2"):
                prepare(resume=True, max_steps=4).train()
            shutil.rmtree(last)
            shutil.copytree(kept, last)
        (last / "optimizer.pt").unlink()
        with pytest.raises(ValueError, match=r"checkpoint-4 lacks optimizer.pt.*goes on from .*checkpoint-2"):
            prepare(resume=True, max_steps=4).train()
        started = tmp_path / "run" / "started.json"
        record = json.loads(started.read_text())
        for name, other in (("processes", 2), ("samples_per_step", 8), ("data", "0"), ("versions", {"torch": "1.0"})):
            started.write_text(json.dumps({**record, name: other}))
            with pytest.raises(ValueError, match=rf"started with other conditions \({name.replace('_', ' ')}"):
                prepare(resume=True, max_steps=4)


class TestOlderRuns:
    @pytest.mark.parametrize(
        ("before", "now", "words"),
        [
            (
                {"trainable": {"learning_rates": {}}},
                {"trainable": {"learning_rates": {"language": 1.0}}},
                "language was",
            ),
            ({"trainer": {}}, {"trainer": {"gradient_accumulation_steps": 4}}, "gradient_accumulation_steps was None"),
            (
                {"trainer": {"lr_scheduler_kwargs": {}}},
                {"trainer": {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}},
                "min_lr_rate was None, now 0.1",
            ),
            ({"validation": None}, {"validation": {"pages": 3}}, "validation.pages was None"),
            ({"seed": 1}, {"seed": 2}, "seed was 1, now 2"),
            ({"seed": 1}, {"seed": 1, "new_field": 2}, None),
            ({"losses": {"denoising": 1}}, {"losses": {"denoising": 1, "new_option": 2}}, None),
            ({"trainer": {"save_steps": 1}}, {"trainer": {"save_steps": 2}}, None),
            ({"trainer": {"weight_decay": 1}}, {"trainer": {}}, None),
        ],
    )
    def test_fields_that_an_older_run_did_not_know_are_not_compared_and_all_others_are(
        self, tmp_path: Path, before: dict[str, Any], now: dict[str, Any], words: str | None
    ) -> None:
        if words is None:
            check_same(before, now, tmp_path)
            return
        with pytest.raises(ValueError, match=f"was started with other settings .*{words}"):
            check_same(before, now, tmp_path)

    def test_a_run_without_a_record_of_its_start_goes_on_and_says_so(
        self, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        prepare(max_steps=2).train()
        out = tmp_path / "run"
        (out / "started.json").unlink()
        kept = json.loads((out / "train.json").read_text())
        del kept["max_bad_steps"]
        kept["trainer"] |= {"learning_rate": 1.0, "eval_strategy": False}
        (out / "train.json").write_text(json.dumps(kept))
        assert prepare(resume=True, max_steps=2, eval_strategy="no").checkpoint is not None
        assert "processes, data and versions are not compared" in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'mpi4py'"), "start it with torchrun --nproc-per-node 1"),
        (
            ValueError("Error initializing torch.distributed using env:// rendezvous: RANK expected, but not set"),
            "start it with torchrun",
        ),
        (RuntimeError("The server socket has failed to listen: EADDRINUSE"), "the port is taken"),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:1: remote process exited"), "mend the first error in"),
        (RuntimeError("Ninja is required to load C++ extensions"), "install a C++ compiler"),
        (FileNotFoundError(2, "No such file or directory", "g++"), "install a C++ compiler"),
        (RuntimeError("TensorBoardCallback requires tensorboard to be installed."), "set report_to: none"),
        (MemoryError("CUDA out of memory"), "per_device_train_batch_size"),
        (KeyError("anything else"), None),
    ],
)
def test_errors_of_libraries_are_said_with_their_mend(error: Exception, words: str | None) -> None:
    found = explain(error)
    assert found is None if words is None else words in str(found)


@pytest.mark.parametrize(
    ("codes", "code"), [([75, -15], 75), ([-15, 2], 2), ([-9], 137), ([1, 75], 1), ([-15, -9], 143), ([], 1)]
)
def test_several_processes_have_one_exit_code(codes: list[int], code: int) -> None:
    assert code_of(codes) == code
