"""Write a small checkpoint with fresh weights, from which the bundled one is trained.

    python -m scripts.assets.make_small_checkpoint runs/small/fresh
    python -m scripts.assets.make_small_checkpoint runs/narrow/fresh --set width=128 heads=2 --style shapes --side 168
    python -m scripts.assets.make_small_checkpoint runs/next/fresh --tower runs/small/read/final   # with eyes that read

The format, the architecture and the ids' names are those of the released checkpoints; the sizes are small enough to
travel with the package. Its tokenizer learns its words from the questions and answers about drawn training pages.
"""

import argparse
import sys
from pathlib import Path

from llava.pages import FAMILIES, STYLES
from llava.serve.parser import Parser, positive, read_changes
from scripts.entry import run

TEXT_STYLES = ("print_small",)


def build_parser() -> Parser:
    parser = Parser(prog="make_small_checkpoint", description=__doc__)
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument(
        "--pages", type=positive, default=300, help="pages per family and style to learn words from (default: 300)"
    )
    parser.add_argument(
        "--style",
        choices=list(STYLES),
        default="typed",
        help="of the pages that patch filters start from (default: typed)",
    )
    parser.add_argument("--side", type=positive, default=336, help="side of those pages in pixels (default: 336)")
    parser.add_argument("--tower", metavar="MODEL", help="a checkpoint of the same sizes to take the vision tower from")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change sizes")
    return parser


def make(args: argparse.Namespace) -> None:
    changes = read_changes(args.set)

    import torch

    from llava.model.builder import load_pretrained_model
    from llava.train.create import PATCH, SmallModelConfig, build_tokenizer, create_model, drawn_views, page_texts

    config = SmallModelConfig.from_dict(changes)
    if args.side < PATCH:
        raise ValueError(f"--side must be at least {PATCH}, the side of a patch, got {args.side}")
    tower = None if args.tower is None else load_pretrained_model(args.tower, torch_dtype="float32")[1]
    args.out.mkdir(parents=True, exist_ok=True)
    texts = [text for style in TEXT_STYLES for text in page_texts(tuple(FAMILIES), (style,), args.pages)]
    tokenizer = build_tokenizer(texts, config.vocabulary)
    model = create_model(config, tokenizer, drawn_views(args.side, args.style, 100))
    if tower is not None:
        try:
            model.get_vision_tower().load_state_dict(tower.get_vision_tower().state_dict())
        except RuntimeError as error:
            raise ValueError(f"the tower of {args.tower} has other sizes: {error}") from error
    model.to(torch.float32).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    total = sum(parameter.numel() for parameter in model.parameters())
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    print(f"{args.out}: {total:,} parameters, {size:.1f} MB in float32")


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), make, arguments)


if __name__ == "__main__":
    sys.exit(main())
