"""A checkpoint small enough to train in a test, runs of the training script, and the losses they log."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llava.train.create import SmallModelConfig, build_tokenizer, create_model, drawn_views, page_texts

ROOT = Path(__file__).parent.parent
SIZES = SmallModelConfig(
    width=16, heads=4, vision_layers=2, language_layers=2, vision_mlp=24, language_mlp=24, vocabulary=400
)
SHIRG = {"grid": 12, "budgets": [11, 13, 17], "similarity": "projected"}
TIMES = ("_runtime", "_per_second", "hours_left", "gigabytes")


def make_checkpoint(out: Path) -> Path:
    """A fresh checkpoint of the smallest sizes."""
    tokenizer = build_tokenizer(page_texts(("entity_grid",), ("shapes",), 20), SIZES.vocabulary)
    model = create_model(SIZES, tokenizer, drawn_views(168, "shapes", 2))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def settings(checkpoint: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A run on drawn pages that takes seconds; ``changes`` replace whole sections, or parts of the trainer's."""
    values: dict[str, Any] = {
        "model": str(checkpoint),
        "out": str(out),
        "dtype": "float32",
        "answer_block": 8,
        "pages": {"families": ["entity_grid"], "style": "shapes", "questions": 2, "pages": 64},
        "shirg_x": dict(SHIRG),
        "trainable": {"scope": "shirg_x", "rank": 3, "coord_rank": 2},
        "losses": {"budget_every": 2},
    }
    trainer = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "save_steps": 100,
        "use_cpu": True,
        "disable_tqdm": True,
        "lr_scheduler_type": "constant",
    } | dict(changes.pop("trainer", {}))
    return values | changes | {"trainer": trainer}


def write_config(directory: Path, values: Mapping[str, Any], name: str = "config.yaml") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(yaml.safe_dump(dict(values)))
    return path


def logged(out: Path) -> list[dict[str, float]]:
    """What a run logged at every step, from its last checkpoint, without times."""
    last = max(out.glob("checkpoint-*/trainer_state.json"), key=lambda file: int(file.parent.name.split("-")[1]))
    history = json.loads(last.read_text())["log_history"]
    return [
        {name: value for name, value in entry.items() if not name.endswith(TIMES)}
        for entry in history
        if "loss" in entry
    ]


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def script_command(config: Path, *words: str, processes: int = 1) -> list[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        start += ["--master-port", str(free_port())]
    return [*start, "-m", "scripts.train_shirg_x", str(config), *words]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run_script(config: Path, *words: str, processes: int = 1, timeout: float = 300) -> str:
    """stdout of a run that must succeed."""
    command = script_command(config, *words, processes=processes)
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout
