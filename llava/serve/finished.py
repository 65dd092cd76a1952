"""``lavida eval --compare`` and ``--merge``: work on finished results, for which nothing is answered."""

import argparse
from pathlib import Path

from llava.eval.shards import merge_shards
from llava.eval.summary import compare
from llava.serve.scores import show_scores


def run(args: argparse.Namespace) -> None:
    """Print a comparison of finished results, or put finished shards together.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    words = "--compare reads finished results" if args.compare is not None else "--merge reads finished shards"
    if args.benchmark is not None or args.out is not None:
        raise ValueError(f"{words}; leave out --benchmark and --out")
    if args.compare is not None:
        print(compare([Path(name) for name in args.compare]))
        return
    directory = Path(args.merge)
    show_scores([merge_shards(directory)], directory)
