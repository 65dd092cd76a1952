"""Every configuration that travels parses, suits transformers and DeepSpeed, and can be planned without its data."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from llava.model import LlavaLladaConfig
from llava.model.language_model.dream.llava_dream import LlavaDreamConfig
from llava.speed.dry_run import plan_run, zero_stage
from llava.speed.workload import FULL_SIZE_VISION
from llava.train.config import TrainConfig, change_settings
from scripts.train_shirg_x import main
from tests.train_helpers import ROOT, make_checkpoint

CONFIGS = sorted((ROOT / "configs" / "train").glob("*.yaml"))
STAGES = {"stage1", "stage2", "shirg_x", "shirg_x_expanded", "shirg_x_dream"}


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for a hub repository: its configuration alone."""
    directory = tmp_path_factory.mktemp("full")
    LlavaLladaConfig(mm_vision_config=FULL_SIZE_VISION).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def full_size_dream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of LaViDa around Dream."""
    directory = tmp_path_factory.mktemp("dream")
    LlavaDreamConfig(mm_vision_config=FULL_SIZE_VISION).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def table(text: str) -> dict[str, str]:
    """The rows of a plan; names and values must stand in two columns."""
    lines = text.splitlines()
    column = min(len(line) - len(line[line.index("  ") :].lstrip()) for line in lines if not line.startswith(" "))
    return {line[:column].strip(): line[column:] for line in lines}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
class TestEveryConfiguration:
    def test_it_reads_and_writes_itself(self, path: Path) -> None:
        config = TrainConfig.from_yaml(path)
        assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    def test_transformers_and_deepspeed_take_its_settings(self, path: Path, tmp_path: Path) -> None:
        config = TrainConfig.from_yaml(path)
        settings = {name: value for name, value in config.trainer.items() if name not in ("bf16", "deepspeed")}
        TrainingArguments(**{**settings, "output_dir": str(tmp_path), "use_cpu": True})
        stage = zero_stage(config.trainer)
        assert stage == {"stage2": 3, "infill": 3}.get(path.stem, 2 if path.stem in STAGES else 0)
        if stage:
            engine = json.loads(Path(config.trainer["deepspeed"]).read_text())
            assert "optimizer" not in engine
            assert engine["zero_allow_untested_optimizer"] is True

    def test_it_can_be_planned(
        self, path: Path, full_size: Path, full_size_dream: Path, small: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        released = full_size_dream if path.stem.endswith("dream") else full_size
        model = released if path.stem in STAGES else small
        assert main([str(path), "--dry-run", "--model", str(model), "--samples", "1000"]) == 0
        rows = table(capsys.readouterr().out)
        assert {"scope", "steps", "memory per GPU", "expected time"} <= set(rows)
        assert rows["scope"] == TrainConfig.from_yaml(path).trainable.scope


def test_all_stages_travel() -> None:
    assert {path.stem for path in CONFIGS} >= STAGES


@pytest.mark.parametrize(
    ("stage", "trainable"), [("shirg_x", 612_643 + 671_744), ("shirg_x_expanded", 612_643 + 671_744 + 67_108_864)]
)
def test_full_size_stages_train_what_was_designed(stage: str, trainable: int, full_size: Path) -> None:
    config = TrainConfig.from_yaml(ROOT / "configs" / "train" / f"{stage}.yaml")
    plan = plan_run(config, LlavaLladaConfig.from_pretrained(full_size), samples=640)
    assert sum(plan.trainable.values()) == trainable
    assert plan.run.zero_stage == 2
    # 640 records, 8 GPUs with 4 samples twice.
    assert plan.run.steps == 10
    kept = [f"SHIRG-X, K = {budget}" for budget in ("512", "768", "1,024")]
    assert list(plan.tokens)[1:] == [*kept, "SHIRG-X, every patch"]
    assert plan.flops["attention teacher"] > plan.flops["language model forward"]


def test_around_dream_the_same_parts_train_in_a_narrower_model(full_size_dream: Path) -> None:
    config = TrainConfig.from_yaml(ROOT / "configs" / "train" / "shirg_x_dream.yaml")
    released = LlavaDreamConfig.from_pretrained(full_size_dream)
    plan = plan_run(config, released, samples=640)
    narrower = 4096 - 3584
    # LoRA of rank 32 on 1152 -> width -> width, and the relevance's map of words to 128 dimensions.
    assert sum(plan.trainable.values()) == 612_643 + 671_744 - 32 * 3 * narrower - 128 * narrower
    expanded = plan_run(change_settings(config, {"trainable.scope": "shirg_x_expanded"}), released, samples=640)
    lora = 28 * 64 * (3 * 3584 + 3584 + 2 * (3584 + 512))
    assert expanded.trainable["language"] == lora
    assert sum(plan.parameters.values()) < 8.2e9


@pytest.mark.parametrize(
    ("stage", "full_size"), [("shirg_x", ["--full-size"]), ("shirg_x_dream", ["--full-size", "llava_dream"])]
)
def test_the_plans_that_files_quote_are_those_of_the_commands_they_name(
    stage: str, full_size: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "configs" / "train" / f"{stage}.yaml"
    header = path.read_text().split("# Planned by ")[1]
    words = [f"train/{stage}", "--dry-run", *full_size, "--samples", "100000"]
    assert header.startswith(f"`lavida train {' '.join(words)}`:\n")
    quoted = dict(re.findall(r"^#   (.+?): (.+)$", header, flags=re.MULTILINE))
    assert quoted.keys() == {"parameters", "memory per GPU", "expected time"}
    assert quoted.items() <= table_of(main, words, capsys).items()


def test_measured_throughput_gives_the_time(full_size: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["configs/train/shirg_x.yaml", "--dry-run", "--model", str(full_size), "--samples", "72000"]
    assert main([*words, "--samples-per-second", "10"]) == 0
    assert table(capsys.readouterr().out)["expected time"] == "2.00 h (10.00 samples/s, measured)"


def test_settings_changed_one_by_one_all_count(full_size: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["configs/train/shirg_x.yaml", "--dry-run", "--model", str(full_size), "--samples", "640"]
    changes = ["--set", "trainer.per_device_train_batch_size=1", "--set", "trainable.rank=16", "losses.budget=0"]
    assert main([*words, *changes]) == 0
    found = table(capsys.readouterr().out)
    assert found["steps"].startswith("40 = ")
    assert found["parameters"] != table_of(main, words, capsys)["parameters"]


def table_of(run: Callable[[list[str]], int], words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert run(words) == 0
    return table(capsys.readouterr().out)


def test_data_that_are_not_at_hand_are_named(full_size: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs/train/stage1.yaml", "--dry-run", "--model", str(full_size)]) == 2
    assert "data/LLaVA-Pretrain" in capsys.readouterr().err


def test_single_settings_change_by_their_path() -> None:
    config = change_settings(
        TrainConfig.from_yaml(ROOT / "configs" / "train" / "shirg_x.yaml"), {"trainable.rank": 16, "seed": 3}
    )
    assert (config.trainable.rank, config.seed, config.trainable.coord_rank) == (16, 3, 8)
    for path, words in (("seed.rank", "seed is no section"), ("trainable.rnk", "did you mean 'rank'")):
        with pytest.raises(ValueError, match=words):
            change_settings(config, {path: 1})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"random_selection": 1.5}, "random_selection is a share of steps, from 0 to 1, got 1.5"),
        ({"random_selection": 0.5, "shirg_x": None}, "random_selection belongs to shirg_x, which is not given"),
        ({"told_truth": 1.5}, "told_truth is a share of steps, from 0 to 1, got 1.5"),
        ({"told_truth": 0.5, "shirg_x": None}, "told_truth belongs to shirg_x, which is not given"),
        ({"told_truth": 0.5, "shirg_x": {"similarity": "learned"}}, "needs similarity: matched, got learned"),
        (
            {"told_truth": 0.5, "pages": None, "mixture": "c", "losses": {"coordinate": 0}},
            "told_truth needs drawn pages",
        ),
    ],
)
def test_a_share_of_steps_must_be_one_and_needs_shirg_x(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig.from_dict({"model": "a", "out": "b", "pages": {}, "shirg_x": {}, **changes})


def test_an_unknown_setting_is_told_by_its_section() -> None:
    assert "seed" in {field.name for field in fields(TrainConfig)}
    with pytest.raises(ValueError, match="unknown setting 'sed'; did you mean 'seed'"):
        TrainConfig.from_dict({"model": "a", "out": "b", "sed": 1})


@pytest.mark.parametrize("script", ["train_8xa100.sh", "train_rows.sh", "train_slurm.sh"])
def test_the_shell_can_read_its_scripts(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], check=True)
