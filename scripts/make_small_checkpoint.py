"""Write a small checkpoint with fresh weights, from which the bundled one is trained.

    python -m scripts.make_small_checkpoint runs/small/fresh
    python -m scripts.make_small_checkpoint runs/narrow/fresh --set width=128 heads=2 --style shapes --side 168
    python -m scripts.make_small_checkpoint runs/next/fresh --tower runs/small/read/final   # with eyes that read

The format, the architecture and the ids' names are those of the released checkpoints; the sizes are small enough to
travel with the package. Its tokenizer learns its words from the questions and answers about drawn training pages.
"""

import argparse
import sys
from pathlib import Path

import torch
import yaml

from llava.model.builder import load_pretrained_model
from llava.train.create import SmallModelConfig, build_tokenizer, create_model, drawn_views
from llava.train.page_data import page_texts
from llava.train.pages import FAMILIES

TEXT_STYLES = ("shapes", "typed", "typed_full", "large_print", "full")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make_small_checkpoint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", type=int, default=300, help="pages per family and style to learn words from")
    parser.add_argument("--style", default="typed", help="style of the pages that patch filters start from")
    parser.add_argument("--side", type=int, default=336, help="side of those pages in pixels")
    parser.add_argument("--tower", metavar="MODEL", help="a checkpoint of the same sizes to take the vision tower from")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change sizes")
    args = parser.parse_args(arguments)
    try:
        changes = dict(change.split("=", 1) for change in args.set)
        config = SmallModelConfig.from_dict({name: yaml.safe_load(value) for name, value in changes.items()})
        tower = None if args.tower is None else load_pretrained_model(args.tower, torch_dtype="float32")[1]
    except (ValueError, OSError) as error:
        print(f"make_small_checkpoint: {error}", file=sys.stderr)
        return 2
    texts = [text for style in TEXT_STYLES for text in page_texts(tuple(FAMILIES), (style,), args.pages)]
    tokenizer = build_tokenizer(texts, config.vocabulary)
    model = create_model(config, tokenizer, drawn_views(args.side, args.style, 100))
    if tower is not None:
        try:
            model.get_vision_tower().load_state_dict(tower.get_vision_tower().state_dict())
        except RuntimeError as error:
            print(f"make_small_checkpoint: the tower of {args.tower} has other sizes: {error}", file=sys.stderr)
            return 2
    model.to(torch.float32).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    total = sum(parameter.numel() for parameter in model.parameters())
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    print(f"{args.out}: {total:,} parameters, {size:.1f} MB in float32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
