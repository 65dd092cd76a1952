"""Refuse in one line, and before any model is loaded, what would fail later in every process of lmms-eval.

    python -m scripts.check_lmms "pretrained=DIR,budget=512" --gpus 8

lmms-eval itself answers every fault with a traceback and exit code 0; scripts/eval_lmms.sh asks here first.
"""

import argparse
import sys
from importlib.util import find_spec

from llava.eval.harness.settings import HarnessSettings
from llava.serve.parser import Parser


def build_parser() -> Parser:
    parser = Parser(prog="check_lmms", description=__doc__)
    parser.add_argument("model_args", help="as lmms-eval's --model_args")
    parser.add_argument("--gpus", type=int, default=0, help="how many there must be (default: 0)")
    parser.add_argument("--name", default="check_lmms", help="who says so (default: check_lmms)")
    return parser


def check(args: argparse.Namespace) -> None:
    """Raise ValueError or FileNotFoundError for what no process could run."""
    HarnessSettings.parse(args.model_args).checkpoint()

    import torch

    if args.gpus > torch.cuda.device_count():
        raise ValueError(f"--gpus {args.gpus} is more than the {torch.cuda.device_count()} here; use --cpu or fewer")
    if find_spec("lmms_eval") is None:
        raise ValueError("lmms-eval is not installed; install the extra lmms, as by uv sync --extra lmms")


def main(arguments: list[str] | None = None) -> int:
    name = "check_lmms"
    try:
        args = build_parser().parse_args(arguments)
        name = args.name
        check(args)
    except (FileNotFoundError, ValueError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
