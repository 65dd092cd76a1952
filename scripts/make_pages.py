"""Write drawn pages with exact answers in LLaVA's conversation format, or time their drawing.

    python -m scripts.make_pages --family entity_grid --split train --style full --count 100 --out outputs/pages
    python -m scripts.make_pages --family doc_page --style large_print --time 300

Images go to OUT/images, records of all questions to OUT/FAMILY-SPLIT-STYLE.json. The same arguments give the same
pages.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from llava.eval.benchmarks.wild import drawers_of
from llava.pages import FAMILIES, SPLITS, STYLES, PageStream, page_records
from llava.serve.parser import Parser, positive
from scripts.entry import run


def build_parser() -> Parser:
    parser = Parser(prog="make_pages", description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, required=True, help="kind of page")
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="whose pages; entity_grid has no wild ones (default: train)"
    )
    parser.add_argument("--style", choices=STYLES, default="full", help="size and density of the print (default: full)")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other pages (default: 0)")
    parser.add_argument("--start", type=int, default=0, help="number of the first page (default: 0)")
    parser.add_argument("--count", type=positive, default=100, help="how many pages to write (default: 100)")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=Path, help="folder for images and records")
    action.add_argument("--time", type=positive, metavar="N", help="draw N pages in memory and print pages per second")
    return parser


def make(args: argparse.Namespace) -> None:
    drawers = drawers_of(args.split)
    stream = PageStream(args.family, args.split, args.seed, args.start, style=args.style, drawers=drawers)
    if args.time:
        time_pages(stream, args.time)
    else:
        write_pages(stream, args.count, args.out)


def write_pages(stream: PageStream, count: int, out: Path) -> Path:
    """Write ``count`` pages and the file of their records, whose path comes back."""
    name = f"{stream.family}-{stream.split}-{stream.style.name}"
    (out / "images").mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(stream.start, stream.start + count):
        page, page_name = stream[index], f"{name}-{stream.seed}-{index:06}"
        page.image.save(out / "images" / f"{page_name}.png")
        records += page_records(page, page_name, f"images/{page_name}.png")
    path = out / f"{name}.json"
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    print(f"{count} pages with {len(records)} questions: {path}")
    return path


def time_pages(stream: PageStream, count: int) -> None:
    """Print the speed in the process's own time, which other work on the machine hardly changes.

    A warm-up fills the caches of glyphs first.
    """
    warm_up = min(count, 50)
    for index in range(warm_up):
        stream[stream.start + index]
    begin = time.process_time()
    for index in range(count):
        stream[stream.start + warm_up + index]
    print(f"{stream.family} {stream.style.name}: {count / (time.process_time() - begin):.0f} pages/s on one core")


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), make, arguments)


if __name__ == "__main__":
    sys.exit(main())
