"""Teach a vision tower to read, on crops of print.

python -m scripts.train_reading configs/small/1_read.yaml
python -m scripts.train_reading configs/small/1_read.yaml --resume
"""

import logging
import sys
from pathlib import Path

from llava.serve.options import Parser
from llava.train.reading.config import ReadingConfig
from llava.train.reading.run import run_reading
from scripts.entry import run


def build_parser() -> Parser:
    """The options."""
    parser = Parser(prog="train_reading", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run; gives the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run(
        build_parser(),
        lambda args: print(run_reading(ReadingConfig.from_yaml(args.config), resume=args.resume)),
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
