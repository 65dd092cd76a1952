"""Print how well a model reads drawn pages: of the patches that show something, how many it puts into the right words.

    python -m scripts.measure_reading runs/small/read/final --style typed
    python -m scripts.measure_reading llava/assets/lavida-small --style typed_full --split shifted --pages 60

A patch is read right if, of all words that name something, the one nearest to the projected patch names what it shows.
Words count in their role: the character in each of the patch's slots, the word printed there, the label of its row or
its column, the shape and color of what is drawn there. No language model runs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from llava.pages import FAMILIES, SPLITS, STYLES, PageStream
from llava.serve.parser import Parser, positive
from scripts.entry import run

if TYPE_CHECKING:
    from llava.model.builder import Loaded


def measure(loaded: Loaded, family: str, split: str, style: str, pages: int) -> dict[str, float]:
    """Each role's share of right patches, averaged over the pages that have any."""
    import torch

    from llava.data.page_truth import Namer, page_truth
    from llava.mm_utils import single_view
    from llava.train.losses.alignment import share_named

    tokenizer, model, processor, _ = loaded
    tower, namer = model.get_vision_tower(), Namer(tokenizer)
    stream = PageStream(family, split, 0, style=style)
    side = stream.style.side if stream.style.looks is None else stream.style.looks.side
    grid = side // tower.patch_size
    shares: dict[str, list[float]] = {}
    for number in track(range(pages), description=family, console=Console(stderr=True), transient=True):
        page = stream[number]
        names = page_truth(page, (grid, grid), tower.patch_size, namer).names.to(model.device).long()
        with torch.no_grad():
            view = single_view(page.image, processor, side, pad=False).to(model.device, model.dtype)
            projected = model.get_model().mm_projector(tower.extract_shirg_x_tokens(view).detail)[0]
            named = share_named(projected, names, model.get_input_embeddings().get_parameter("weight"))
        for role, share in named.items():
            if not math.isnan(share):
                shares.setdefault(role, []).append(share)
    return {role: sum(found) / len(found) for role, found in shares.items()}


def build_parser() -> Parser:
    parser = Parser(prog="measure_reading", description=__doc__)
    parser.add_argument("model", type=Path, help="directory or hub repository")
    parser.add_argument(
        "--style", choices=list(STYLES), default="typed", help="size and density of the print (default: typed)"
    )
    parser.add_argument("--split", choices=SPLITS[:-1], default="validation", help="whose pages (default: validation)")
    parser.add_argument("--pages", type=positive, default=30, help="of each family (default: 30)")
    return parser


def report(args: argparse.Namespace) -> None:
    from llava.model.builder import load_pretrained_model

    loaded = load_pretrained_model(args.model, torch_dtype="float32", device_map="auto")
    found = {family: measure(loaded, family, args.split, args.style, args.pages) for family in FAMILIES}
    for family, shares in found.items():
        print(f"{family:12}", "  ".join(f"{role} {share:.3f}" for role, share in shares.items()))
    print(json.dumps(found))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), report, arguments)


if __name__ == "__main__":
    sys.exit(main())
