"""Measure whole training steps on one device: time, peak memory, and the share of the device's arithmetic.

    python -m scripts.benchmark_training configs/train/shirg_x.yaml --full-size --device cuda --out training.json
    python -m scripts.benchmark_training configs/train/shirg_x.yaml --model DIR --batch 1 2 4

Samples are random; LaViDa-8B's sizes need about 20 GB with LoRA. Hours are those of 100,000 samples on ``--gpus`` such
devices, if communication hides behind arithmetic.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from llava.serve.parser import Parser, positive
from llava.train.config import TrainConfig
from scripts.entry import check_file, run

if TYPE_CHECKING:
    pass


def build_parser() -> Parser:
    parser = Parser(prog="benchmark_training", description=__doc__)
    parser.add_argument("config", type=Path, help="a stage with SHIRG-X, as for train_shirg_x")
    parser.add_argument("--full-size", action="store_true", help="LaViDa-8B's sizes with random weights")
    parser.add_argument("--model", type=Path, help="checkpoint directory, instead of the configuration's")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--batch", type=positive, nargs="+", default=[1], help="samples a step, one or several sizes")
    parser.add_argument("--steps", type=positive, default=3, help="timed steps of each budget (default: 3)")
    parser.add_argument("--gpus", type=positive, default=8, help="devices for which hours are worked out (default: 8)")
    parser.add_argument(
        "--out", type=Path, default=Path("training.json"), help="JSON file to write (default: training.json)"
    )
    return parser


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


def benchmark(args: argparse.Namespace) -> None:
    config = TrainConfig.from_yaml(args.config)
    check_file(args.out)

    from llava.model.builder import load_pretrained_model
    from llava.model.device import find_device
    from llava.provenance import provenance
    from llava.speed.step_time import measure_steps
    from llava.speed.workload import full_size_model

    device = find_device(args.device)
    results = []
    for batch in args.batch:
        # Each size has a fresh model: a patch and LoRA stay on the one that was measured.
        if args.full_size:
            model = full_size_model(device)
        else:
            model = load_pretrained_model(args.model or config.model, device_map=device)[1]
        results.append(measure_steps(model, config, batch_size=batch, steps=args.steps, processes=args.gpus))
        # A patch and its model refer to each other: the next one would be built while this one still lives.
        del model
        gc.collect()
    Console(file=sys.stderr).print(steps_table(results))
    record = {
        "model": "full size, random weights" if args.full_size else str(args.model or config.model),
        "config": config.to_dict(),
        "results": results,
        **provenance(device),
    }
    args.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({"out": str(args.out), "rows": {result["batch_size"]: result["rows"] for result in results}}))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), benchmark, arguments)


if __name__ == "__main__":
    sys.exit(main())
