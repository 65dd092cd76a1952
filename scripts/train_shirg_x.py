"""Train LaViDa with SHIRG-X, in any of its stages: one configuration file per stage.

    python -m scripts.train_shirg_x configs/train/small_shirg_x.yaml
    torchrun --nproc-per-node 8 -m scripts.train_shirg_x configs/train/shirg_x.yaml --out runs/shirg_x
    python -m scripts.train_shirg_x configs/train/shirg_x.yaml --dry-run
    torchrun --nproc-per-node 8 -m scripts.train_shirg_x configs/train/shirg_x.yaml --resume

Settings can be changed on the command line by their path: --set trainable.rank=16 trainer.max_steps=100
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import yaml

from llava.train.config import TrainConfig, change_settings
from llava.train.train import prepare_run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train_shirg_x", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a file of configs/train")
    parser.add_argument("--out", help="directory of the run, instead of the configuration's")
    parser.add_argument("--model", help="checkpoint to start from, instead of the configuration's")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last whole checkpoint")
    parser.add_argument("--dry-run", action="store_true", help="print parameters, memory and time, and train nothing")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="change single settings")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        config = TrainConfig.from_yaml(args.config)
        changes: dict[str, Any] = {"out": args.out, "model": args.model}
        changes = {name: value for name, value in changes.items() if value is not None}
        for change in args.set:
            name, separator, value = change.partition("=")
            if not separator:
                raise ValueError(f"--set wants NAME=VALUE, got {change!r}")
            changes[name] = yaml.safe_load(value)
        config = change_settings(config, changes)
        run = prepare_run(config, resume=args.resume)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(f"train_shirg_x: {error}", file=sys.stderr)
        return 2
    final = run.train()
    if run.trainer.is_world_process_zero():
        print(final)
    return 0


if __name__ == "__main__":
    sys.exit(main())
