"""Two processes, with and without DeepSpeed, give the losses of one; what ZeRO spreads is resumed, asked and exported.

On the CPU over gloo.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava.model.builder import load_pretrained_model
from llava.train.config import TrainConfig
from llava.train.train import prepare_run
from llava.tuning.adapter import load_adapter
from tests.cli_helpers import copy_checkpoint
from tests.train_helpers import ROOT, SHIRG, environment, free_port, logged, make_checkpoint, settings, write_config

pytestmark = pytest.mark.long

HELD_OUT = {"families": ["entity_grid"], "style": "shapes", "split": "validation", "questions": 2, "pages": 3}
STEPS = 3
ENGINES = ("plain", "zero2", "zero3")


def changes(engine: str, batch: int) -> dict[str, Any]:
    deepspeed = {} if engine == "plain" else {"deepspeed": str(ROOT / "configs" / "deepspeed" / f"{engine}.json")}
    return {
        "shirg_x": {**SHIRG, "similarity": "learned"},
        # The gate and a measurement every second step: parts of the model that only some steps train.
        "losses": {"relevance_teacher": "gate", "budget_every": 2},
        "validation": HELD_OUT,
        "trainer": {
            "max_steps": STEPS,
            "per_device_train_batch_size": batch,
            "eval_strategy": "steps",
            "eval_steps": 2,
            "save_steps": 2,
            "save_total_limit": 9,
            "lr_scheduler_type": "cosine",
            **deepspeed,
        },
    }


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of one process, and for each engine one of two, and one that was resumed at half."""
    home = tmp_path_factory.mktemp("distributed")
    checkpoint = make_checkpoint(home / "model")
    prepare_run(TrainConfig.from_dict(settings(checkpoint, home / "one", **changes("plain", 4)))).train()
    config = {
        engine: write_config(home, settings(checkpoint, home / engine, **changes(engine, 2)), f"{engine}.yaml")
        for engine in ENGINES
    }
    rounded = settings(checkpoint, home / "zero2_bf16", **changes("zero2", 2)) | {"dtype": "bfloat16"}
    rounded["trainer"]["bf16"] = True
    _start(home, [*map(str, config.values()), str(write_config(home, rounded, "zero2_bf16.yaml"))])
    resumed = []
    for engine in ENGINES:
        # The directory is one of the settings that a resumed run must share.
        shutil.copytree(home / engine, home / f"{engine}_whole")
        shutil.rmtree(home / engine / f"checkpoint-{STEPS}")
        shutil.rmtree(home / engine / "final")
        resumed.append(f"{config[engine]} --resume")
    _start(home, resumed)
    return home


def _start(home: Path, configs: list[str]) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    run = subprocess.run(
        [*launch, "-m", "tests.distributed_runs", *configs],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-9000:]
    finals = [str(home / Path(words.split()[0]).stem / "final") for words in configs]
    assert run.stdout.splitlines() == finals


def losses(run: Path) -> list[dict[str, float]]:
    # Engines differ in where they take the norm of gradients.
    return [{name: value for name, value in entry.items() if name != "grad_norm"} for entry in logged(run)]


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_have_the_losses_of_one_step_by_step(runs: Path, engine: str) -> None:
    found, wanted = losses(runs / f"{engine}_whole"), losses(runs / "one")
    assert [entry["step"] for entry in found] == list(range(1, STEPS + 1))
    for entry, right in zip(found, wanted, strict=True):
        assert entry == pytest.approx(right, rel=1e-4)


def test_bf16_under_zero_has_nearly_the_losses_of_float32(runs: Path) -> None:
    """As the full-size stages run: weights, activations and gradients in bf16, the optimizer's copies in float32."""
    found, wanted = losses(runs / "zero2_bf16"), losses(runs / "one")
    assert [entry["loss"] for entry in found] != [entry["loss"] for entry in wanted]
    for entry, right in zip(found, wanted, strict=True):
        assert entry == pytest.approx(right, rel=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resumed_run_has_the_losses_of_the_whole_one(runs: Path, engine: str) -> None:
    found, wanted = logged(runs / engine), logged(runs / f"{engine}_whole")
    for entry, right in zip(found, wanted, strict=True):
        assert entry == pytest.approx(right, rel=1e-5)
    for name in ("adapter.safetensors", "shirg_x.safetensors"):
        resumed, whole = (load_file(runs / run / "final" / name) for run in (engine, f"{engine}_whole"))
        torch.testing.assert_close(resumed, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_processes_share_the_held_out_questions(runs: Path, engine: str) -> None:
    best, alone = (json.loads((runs / run / "best" / "results.json").read_text()) for run in (engine, "one"))
    assert best["step"] == alone["step"] == 2
    assert best["eval_exact_match"] == alone["eval_exact_match"]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_users_load_is_whole(runs: Path, engine: str) -> None:
    one, two = (load_file(runs / run / "final" / "adapter.safetensors") for run in ("one", f"{engine}_whole"))
    torch.testing.assert_close(two, one, rtol=1e-2, atol=2e-4)
    tokenizer, model, _, _ = load_pretrained_model(runs / "model", device_map="cpu")
    assert load_adapter(model, runs / f"{engine}_whole" / "final", merge=True, tokenizer=tokenizer) is not None


@pytest.fixture(scope="session")
def dream_runs(tiny_dream_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same around a language model that reads each token from the position before it."""
    home = tmp_path_factory.mktemp("dream")
    checkpoint = copy_checkpoint(tiny_dream_checkpoint, home / "all")

    def of(out: str, engine: str, batch: int) -> dict[str, Any]:
        values = changes(engine, batch) | {"trainable": {"scope": "shirg_x_expanded", "rank": 3, "coord_rank": 2}}
        return settings(checkpoint, home / out, **values)

    prepare_run(TrainConfig.from_dict(of("one", "plain", 4))).train()
    engines = ("plain", "zero2")
    _start(home, [str(write_config(home, of(engine, engine, 2), f"{engine}.yaml")) for engine in engines])
    return home


@pytest.mark.parametrize("engine", ["plain", "zero2"])
def test_two_processes_train_dream_with_the_losses_of_one(dream_runs: Path, engine: str) -> None:
    found, wanted = losses(dream_runs / engine), losses(dream_runs / "one")
    assert [entry["step"] for entry in found] == list(range(1, STEPS + 1))
    for entry, right in zip(found, wanted, strict=True):
        assert entry == pytest.approx(right, rel=1e-4)
    one, two = (load_file(dream_runs / run / "final" / "adapter.safetensors") for run in ("one", engine))
    torch.testing.assert_close(two, one, rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize("engine", ["zero2", "zero3"])
def test_frozen_weights_are_not_in_the_checkpoints_of_deepspeed(runs: Path, engine: str) -> None:
    model = sum(file.stat().st_size for file in (runs / "model").glob("*.safetensors"))
    held = sum(file.stat().st_size for file in (runs / engine / "checkpoint-2").rglob("*model_states.pt"))
    trained = (runs / engine / "checkpoint-2" / "trainable.safetensors").stat().st_size
    assert held < trained + 0.3 * model
