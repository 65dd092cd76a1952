"""Train LaViDa with SHIRG-X, in any of its stages: one configuration file per stage.

    python -m scripts.train_shirg_x configs/train/small_1_read.yaml
    torchrun --nproc-per-node 8 -m scripts.train_shirg_x configs/train/shirg_x.yaml --out runs/shirg_x
    python -m scripts.train_shirg_x configs/train/shirg_x.yaml --dry-run --samples 100000
    torchrun --nproc-per-node 8 -m scripts.train_shirg_x configs/train/shirg_x.yaml --resume

Settings can be changed on the command line by their path: --set trainable.rank=16 trainer.max_steps=100
"""

import argparse
import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from llava.inference.checkpoint import read_checkpoint_config
from llava.serve.options import Parser
from llava.speed.dry_run import plan_run
from llava.speed.plan import plan_rows
from llava.train.config import TrainConfig, change_settings
from llava.train.train import prepare_run
from scripts.entry import positive, read_changes, run


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), _train_or_plan, arguments, also=(RuntimeError, ImportError))


def build_parser() -> Parser:
    parser = Parser(prog="train_shirg_x", description=__doc__)
    parser.add_argument("config", type=Path, help="a file of configs/train")
    parser.add_argument("--out", help="directory of the run, instead of the configuration's")
    parser.add_argument("--model", help="checkpoint to start from, instead of the configuration's")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last whole checkpoint")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change single settings"
    )
    dry = parser.add_argument_group("dry run")
    dry.add_argument("--dry-run", action="store_true", help="print parameters, memory and time, and train nothing")
    dry.add_argument("--gpus", type=positive, default=8, help="GPUs to plan for (default: 8)")
    dry.add_argument("--samples", type=positive, help="records of the data, where they are not at hand to be counted")
    dry.add_argument("--samples-per-second", type=float, help="measured throughput of all GPUs together")
    return parser


def _train_or_plan(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # stdout holds the result alone: trainers print their logs, and DeepSpeed's logger is bound to stdout for good.
    with redirect_stdout(sys.stderr):
        result = _dry_run(args) if args.dry_run else _train(args)
    if result:
        print(result)


def _config(args: argparse.Namespace) -> TrainConfig:
    changes: dict[str, Any] = {"out": args.out, "model": args.model}
    changes = {name: value for name, value in changes.items() if value is not None}
    return change_settings(TrainConfig.from_yaml(args.config), changes | read_changes(args.set))


def _train(args: argparse.Namespace) -> str:
    run = prepare_run(_config(args), resume=args.resume)
    final = run.train()
    return str(final) if run.trainer.is_world_process_zero() else ""


def _dry_run(args: argparse.Namespace) -> str:
    config = _config(args)
    plan = plan_run(
        config,
        read_checkpoint_config(config.model),
        processes=args.gpus,
        samples=args.samples,
        samples_per_second=args.samples_per_second,
    )
    rows = plan_rows(plan)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


if __name__ == "__main__":
    sys.exit(main())
