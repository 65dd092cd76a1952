"""lmms-eval on local data: tasks, runs of it in a process of its own, and what it writes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.train_helpers import free_port

ROOT = Path(__file__).parent.parent
TOKENS = 8
BATCH = 3
ARGUMENTS = {"device": "cpu", "dtype": "float32", "budget": 512, "tokens": TOKENS, "batch_size": BATCH}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from datasets import Dataset
    from datasets import Image as ImageColumn

    Dataset.from_list(list(rows)).cast_column("image", ImageColumn()).to_parquet(path)


def write_task(directory: Path, name: str, original: str, split: str, rows: Sequence[dict[str, Any]]) -> None:
    """lmms-eval's own task with other data, and without its instruction, to which the bundled model has no answer."""
    directory.mkdir(exist_ok=True)
    write_rows(directory / f"{name}.parquet", rows)
    spec = find_spec("lmms_eval")
    assert spec is not None
    assert spec.origin is not None
    task = {
        "include": str(Path(spec.origin).parent / "tasks" / original),
        "task": name,
        "lmms_eval_specific_kwargs": {"default": {"pre_prompt": "", "post_prompt": ""}},
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(directory / f"{name}.parquet")}},
    }
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(task))


def environment(home: Path) -> dict[str, str]:
    """No network, no GPU, and no cache but an empty one."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        **offline,
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ACCELERATE_USE_CPU": "true",
    }


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What lmms-eval wrote."""

    scores: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    config: dict[str, Any]
    throughput: dict[str, Any]


def read_results(out: Path) -> Finished:
    (file,) = out.rglob("*_results.json")
    results = json.loads(file.read_text())
    samples = {
        task: [json.loads(line) for line in file.read_text().splitlines()]
        for file in out.rglob("*_samples_*.jsonl")
        for task in [file.stem.split("_samples_")[1]]
    }
    return Finished(
        scores=results["results"], samples=samples, config=results["config"], throughput=results["throughput"]
    )


def run_lmms(directory: Path, out: Path, *words: str, processes: int = 1) -> Finished:
    arguments = ",".join(f"{name}={value}" for name, value in ARGUMENTS.items())
    start = [sys.executable, "-m"]
    if processes > 1:
        # accelerate launch --cpu would start one process only, however many are asked for.
        start += ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port()), "-m"]
    command = [*start, "lmms_eval", "--model", "lavida", "--model_args", arguments, "--log_samples"]
    command += ["--include_path", str(directory), "--output_path", str(out), "--verbosity", "DEBUG", *words]
    run = subprocess.run(command, cwd=ROOT, env=environment(out / "home"), capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    started = {int(rank) for rank in re.findall(r"Running on rank (\d+)", run.stdout)}
    assert started == set(range(processes))
    return read_results(out)


def answers_of(samples: Sequence[dict[str, Any]]) -> list[str]:
    return [each["filtered_resps"] for each in sorted(samples, key=lambda each: each["doc_id"])]


def requests(model: Any, asked: Sequence[tuple[str, dict[str, Any], Any]]) -> list[Any]:
    """Requests as lmms-eval makes them, of (question, generation settings, pictures)."""
    from lmms_eval.api.instance import Instance

    model.task_dict["t"] = {"test": [visuals for _, _, visuals in asked]}
    return [
        Instance(
            request_type="generate_until",
            arguments=(question, generation, lambda document: document, number, "t", "test"),
            idx=0,
            metadata={"task": "t", "doc_id": number, "repeats": 1},
        )
        for number, (question, generation, _) in enumerate(asked)
    ]
