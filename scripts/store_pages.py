"""Draw pages, let a checkpoint's tower see them once, and keep what it saw: a language model then learns without it.

    python -m scripts.store_pages configs/small/3_answer.yaml --pages 20000
    python -m scripts.store_pages configs/small/3_answer.yaml --out runs/small/more --pages 40000

The settings are those of a training run: its model, pages and style of answers. Pages go to the folder that its
``pages: {stored: FOLDER}`` names, behind those that are there; an interrupted run goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llava.serve.parser import Parser, positive
from scripts.entry import run


def build_parser() -> Parser:
    parser = Parser(prog="store_pages", description=__doc__)
    parser.add_argument("settings", type=Path, help="settings of a training run with drawn pages")
    parser.add_argument("--pages", type=positive, required=True, metavar="N", help="how many pages there are to be")
    parser.add_argument("--questions", type=positive, default=6, metavar="N", help="of each page (default: 6)")
    parser.add_argument("--out", type=Path, help="another folder than the settings name")
    return parser


def store(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lavida_shirg_integration import apply_shirg_x
    from llava.data.feature_store import count_pages, store_pages
    from llava.data.page_data import PageDataset
    from llava.model.builder import load_pretrained_model
    from llava.train.config import TrainConfig
    from llava.train.stored import making, see_pages

    config = TrainConfig.from_yaml(args.settings)
    folder = args.out or (config.pages and config.pages.stored)
    if config.pages is None or config.shirg_x is None or not folder:
        raise ValueError(f"{args.settings} has no drawn pages with shirg_x that are to be stored; set pages.stored")
    tokenizer, model, image_processor, _ = load_pretrained_model(config.model, device_map="auto")
    handle = apply_shirg_x(model.eval(), config.shirg_x, tokenizer=tokenizer)
    pages = PageDataset(
        replace(config.pages, pages=args.pages, questions=args.questions),
        tokenizer,
        image_processor,
        model.config,
        answer_block=config.answer_block,
        max_extra_blocks=config.max_extra_blocks,
        infill=config.infill,
        truth_grid=config.shirg_x.grid,
        spelled=config.answers == "spelled",
    )
    there = count_pages(Path(folder))
    seen = see_pages(handle, pages, there)
    with tqdm(total=args.pages, initial=there, unit="page") as bar:
        for count in store_pages(Path(folder), seen, settings=making(config, model, tokenizer)):
            bar.update(count)
    print(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code."""
    return run(build_parser(), store, arguments)


if __name__ == "__main__":
    sys.exit(main())
