"""Draw the bundled example pages, and ``pages.json`` with questions whose answers the drawing itself knows.

    python -m scripts.assets.draw_pages llava/assets/pages

The same versions of matplotlib and Pillow give the same bytes: seeds are fixed, dates are left out of the files, and
the fonts are the ones inside matplotlib. Boxes are (x0, y0, x1, y1) in pixels of the page as ``load_pages`` returns it;
an entry about a PDF also names its page, counted from 1.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from PIL import Image

from llava.serve.parser import Parser
from scripts.assets.canvas import Canvas, Question
from scripts.assets.documents import draw_invoice, draw_receipt, draw_table, draw_terms
from scripts.assets.scenes import draw_bar_chart, draw_entity_grid, draw_photo, draw_timeline
from scripts.entry import run


def draw_all(folder: Path) -> list[Question]:
    """Write every page and ``pages.json`` into ``folder``; the questions come back too."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(matplotlib.rcParamsDefault):  # a user's style file must not change the pages
        prints = [draw_invoice("invoice.png"), draw_table(), draw_bar_chart(), draw_entity_grid()]
        prints += [draw_timeline(), draw_receipt()]
        for page in prints:
            save_png(page.pixels(), folder / page.name, colors=128)
        photo, pixels = draw_photo()
        save_png(pixels, folder / photo.name, colors=256)
        sheets = [draw_invoice("invoice.pdf", number=1), draw_terms("invoice.pdf")]
        save_pdf(sheets, folder / "invoice.pdf")
    questions = [question for page in (*prints, photo, *sheets) for question in page.questions]
    lines = ",\n  ".join(json.dumps(question, ensure_ascii=False) for question in questions)
    (folder / "pages.json").write_text(f"[\n  {lines}\n]\n", encoding="utf-8")
    return questions


def save_png(pixels: Image.Image, path: Path, *, colors: int) -> None:
    # A palette costs print and grain nothing that shows, and keeps every file below 150 kB.
    pixels.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def save_pdf(sheets: Iterable[Canvas], path: Path) -> None:
    with matplotlib.rc_context({"pdf.fonttype": 42}), PdfPages(path, metadata={"CreationDate": None}) as pdf:
        for sheet in sheets:
            pdf.savefig(sheet.figure)


def build_parser() -> Parser:
    parser = Parser(prog="draw_pages", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pages go")
    return parser


def draw(args: argparse.Namespace) -> None:
    questions = draw_all(args.folder)
    print(f"{len(questions)} questions about the pages in {args.folder}")


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), draw, arguments)


if __name__ == "__main__":
    sys.exit(main())
