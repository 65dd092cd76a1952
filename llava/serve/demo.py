"""``lavida demo``: the bundled pages, their questions, and what the model makes of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from llava.constants import ASSETS
from llava.files import write_text
from llava.image_io import load_pages
from llava.inference.words import one_line
from llava.serve.display import stdout_console
from llava.serve.files import write_picture
from llava.serve.gallery import Shown, index_page
from llava.serve.requests import checkpoint_of, load_session

if TYPE_CHECKING:
    from llava.inference.decoding import Decoding
    from llava.inference.session import Session

GALLERIES = {"typed": ASSETS / "typed", "documents": ASSETS / "pages"}
"""Pages of the kind that the bundled model was trained on, and print and words that it never saw."""


@dataclass(frozen=True, kw_only=True)
class DemoPage:
    """One bundled page and what is asked about it."""

    file: str
    page: int | None
    entries: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        return self.file if self.page is None else f"{self.file}, page {self.page}"

    def picture(self, number: int) -> str:
        """The file name of the heat map of its question of that number."""
        page = "" if self.page is None else f"-page{self.page}"
        return f"{self.file.replace('.', '_')}{page}-{number}.png"


def run(args: argparse.Namespace) -> None:
    """Answer the bundled questions, print them beside the right answers, and write the pictures.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    if args.questions < 1:
        raise ValueError(f"--questions must be at least 1, got {args.questions}")
    pages = GALLERIES[args.gallery]
    sheets = read_sheets(pages, args.questions)
    checkpoint = checkpoint_of(args)
    out = _make_directory(args.out)
    session = load_session(args, checkpoint)
    progress = Console(stderr=True)
    shown = []
    for sheet in track(sheets, "pages", console=progress, disable=not progress.is_interactive, transient=True):
        shown += answer_sheet(session, pages, sheet, out, args.decoding)
    index = out / "index.html"
    write_text(index_page(shown, model=checkpoint.model, untrained=session.untrained), index)
    console = stdout_console()
    console.print(_table(shown))
    right = sum(item.is_right for item in shown)
    if about := checkpoint.entries.get("about"):
        console.print(Text(one_line(str(about))), soft_wrap=True)
    pace = sum(item.forwards for item in shown) / max(1, len(shown))
    told = f"{right} of {len(shown)} right, {pace:.1f} forwards an answer; the heat maps are in {one_line(str(index))}"
    console.print(Text(told), soft_wrap=True)


def read_sheets(pages: Path, limit: int) -> list[DemoPage]:
    """The pages of a gallery in order, with at most ``limit`` questions each."""
    entries = json.loads((pages / "pages.json").read_text(encoding="utf-8"))
    return [
        DemoPage(file=file, page=page, entries=tuple(group)[:limit])
        for (file, page), group in groupby(entries, lambda entry: (entry["image"], entry.get("page")))
    ]


def answer_sheet(session: Session, pages: Path, sheet: DemoPage, out: Path, decoding: Decoding) -> list[Shown]:
    """Answer a sheet's questions and write their heat maps into ``out``."""
    image = load_pages(pages / sheet.file, page=sheet.page)[0]
    page = session.encode(image)
    shown = []
    for number, entry in enumerate(sheet.entries, start=1):
        answer = session.answer(page, entry["question"], decoding=decoding)
        picture = None
        if session.handle is not None:
            picture = sheet.picture(number)
            write_picture(answer.heatmap(answer_box=_box(entry["box"], image)), out / picture)
        shown.append(
            Shown(
                page=sheet.title,
                question=entry["question"],
                answer=answer.text,
                expected=entry["answer"],
                k=answer.prefix.budget,
                forwards=answer.forwards,
                picture=picture,
            )
        )
    return shown


def _box(corners: list[int], image: Image.Image) -> tuple[float, float, float, float]:
    """Pixel corners (left, top, right, bottom) as (x, y, h, w): centroid and extent, each in [0, 1]."""
    left, top, right, bottom = corners
    width, height = image.size
    return (left + right) / 2 / width, (top + bottom) / 2 / height, (bottom - top) / height, (right - left) / width


def _make_directory(name: str) -> Path:
    out = Path(name)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {name} is a file; give a directory")
    if not out.parent.is_dir():
        raise ValueError(f"--out {name}: there is no directory {out.parent}; make it first")
    out.mkdir(exist_ok=True)
    return out


def _table(shown: list[Shown]) -> Table:
    table = Table()
    for name in ("page", "question", "answer", "right answer"):
        table.add_column(name, overflow="fold")
    table.add_column("K", justify="right")
    for item in shown:
        cells = (
            item.page,
            item.question,
            one_line(item.answer),
            item.expected,
            "" if item.k is None else f"{item.k:,}",
        )
        # As Text, because rich would read brackets in a string as its markup.
        table.add_row(*(Text(cell) for cell in cells), style="green" if item.is_right else "")
    return table
