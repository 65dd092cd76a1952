"""Measure whole training steps on one device: time, peak memory, and the share of the device's arithmetic.

    python -m scripts.benchmark_training configs/train/shirg_x.yaml --full-size --device cuda --out training.json
    python -m scripts.benchmark_training configs/train/shirg_x.yaml --model DIR --batch 1 2 4

Samples are random; LaViDa-8B's sizes need about 20 GB with LoRA. Hours are those of 100,000 samples on ``--gpus`` such
devices, if communication hides behind arithmetic.
"""

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from llava.eval.latency import full_size_model
from llava.eval.provenance import provenance
from llava.model.builder import load_pretrained_model
from llava.train.config import TrainConfig
from llava.train.step_time import measure_steps


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark_training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a stage with SHIRG-X, as for train_shirg_x")
    parser.add_argument("--full-size", action="store_true", help="LaViDa-8B's sizes with random weights")
    parser.add_argument("--model", type=Path, help="checkpoint directory, instead of the configuration's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="samples a step, one or several sizes")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each budget")
    parser.add_argument("--gpus", type=int, default=8, help="devices for which hours are worked out")
    parser.add_argument("--out", type=Path, default=Path("training.json"))
    return parser.parse_args(arguments)


def steps_table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="whole training steps, medians")
    for column in ("batch", "detail tokens", "s a step", "samples/s", "peak GB", "planned GB", "of peak", "hours"):
        table.add_column(column, justify="right")
    for result in results:
        for budget, row in result["rows"].items():
            table.add_row(
                str(result["batch_size"]),
                budget,
                f"{row['seconds']:.3f}",
                _number(row.get("samples_per_second"), 2),
                _number(row["peak_bytes"], 1, 1e9),
                _number(row.get("planned_bytes"), 1, 1e9),
                _number(row.get("share_of_peak"), 2),
                _number(row.get("hours"), 2),
            )
    return table


def _number(value: float | None, digits: int, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    results = []
    try:
        config = TrainConfig.from_yaml(args.config)
        for batch in args.batch:
            # Each size has a fresh model: a patch and LoRA stay on the one that was measured.
            if args.full_size:
                model = full_size_model(torch.device(args.device))
            else:
                model = load_pretrained_model(args.model or config.model, device_map=args.device)[1]
            results.append(measure_steps(model, config, batch_size=batch, steps=args.steps, processes=args.gpus))
            # A patch and its model refer to each other: the next one would be built while this one still lives.
            del model
            gc.collect()
    except (FileNotFoundError, ValueError) as error:
        print(f"benchmark_training: {error}", file=sys.stderr)
        return 2
    Console(file=sys.stderr).print(steps_table(results))
    record = {
        "model": "full size, random weights" if args.full_size else str(args.model or config.model),
        "config": config.to_dict(),
        "results": results,
        **provenance(torch.device(args.device)),
    }
    args.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({"out": str(args.out), "rows": {result["batch_size"]: result["rows"] for result in results}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
