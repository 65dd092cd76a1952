"""Draw the pages of the demonstration: pages of the test split, which the bundled model never saw in training.

    python -m scripts.assets.draw_demo_pages llava/assets/typed --pages 2

Writes PNG files and ``pages.json`` with questions, right answers, and the pixel boxes (x0, y0, x1, y1) of the answers
and of what the questions name. Pages are the test split's first, none is picked.
"""

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from llava.pages import DETAILS, FAMILIES, STYLES, Box, Page, draw_page
from llava.serve.parser import Parser, positive
from scripts.entry import run


def entries(page: Page, file: str) -> list[dict[str, Any]]:
    """The page's questions, as the demonstration reads them."""
    width, height = page.image.size

    def corners(box: Box) -> list[int]:
        x0, y0, x1, y1 = box
        return [int(x0 * width), int(y0 * height), -int(-x1 * width // 1), -int(-y1 * height // 1)]

    return [
        {
            "image": file,
            "question": question.question,
            "answer": question.answer,
            "box": corners(question.answer_box),
            **({"evidence": [corners(box) for box in question.evidence]} if question.evidence else {}),
        }
        for question in page.questions
    ]


def build_parser() -> Parser:
    parser = Parser(prog="draw_demo_pages", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pages go")
    parser.add_argument(
        "--families", nargs="+", choices=list(FAMILIES), default=[*FAMILIES][::-1], help="kinds of pages (default: all)"
    )
    parser.add_argument(
        "--style",
        choices=list(STYLES),
        default="typed_full",
        help="size and density of the print (default: typed_full)",
    )
    parser.add_argument("--pages", type=positive, default=2, help="of each family (default: 2)")
    return parser


def draw(args: argparse.Namespace) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    questions, style = [], replace(STYLES[args.style], kinds=DETAILS)
    for index, family in product(range(args.pages), args.families):
        page = draw_page(family, "test", 0, index, style)
        file = f"{family}_{index}.png"
        page.image.save(args.folder / file, optimize=True)
        questions += entries(page, file)
    lines = ",\n  ".join(json.dumps(question) for question in questions)
    (args.folder / "pages.json").write_text(f"[\n  {lines}\n]\n", encoding="utf-8")
    print(f"{len(questions)} questions about {args.pages * len(args.families)} pages in {args.folder}")


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), draw, arguments)


if __name__ == "__main__":
    sys.exit(main())
