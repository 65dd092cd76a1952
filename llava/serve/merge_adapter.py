"""``lavida merge-adapter``: a checkpoint that needs no adapter."""

import argparse
from pathlib import Path

from llava.inference.checkpoint import Checkpoint
from llava.serve.display import working
from llava.tuning.settings import AdapterSettings


def run(args: argparse.Namespace) -> None:
    """Merge, write, and print where.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    model: str | None = args.model
    if model is None:
        if args.adapter is None:
            raise ValueError("give an adapter, or --model with a checkpoint")
        model = AdapterSettings.read(args.adapter).base.name
    if Path(model).resolve() == args.out.resolve():
        raise ValueError(f"--out {args.out} is the checkpoint itself; choose another directory")
    if args.out.is_file():
        raise ValueError(f"--out {args.out} is a file; give a directory")
    Checkpoint.resolve(model, adapter=args.adapter)  # refuses what is missing or broken
    entries = {"about": args.about, "page_style": args.page_style}
    with working("merging the adapter" if args.adapter is not None else "rounding the weights"):
        import torch

        from llava.tuning.merged import write_merged

        dtype = getattr(torch, args.dtype)
        given = {name: value for name, value in entries.items() if value is not None}
        write_merged(model, args.adapter, args.out, dtype=dtype, entries=given)
    print(args.out)
