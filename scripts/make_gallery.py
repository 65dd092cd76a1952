"""Draw the gallery of the documents: what was kept for a question, where its answer stands, and what was answered.

    python -m scripts.make_gallery
    python -m scripts.make_gallery --model DIR --out /tmp/gallery

Writes ``gallery.md`` and its pictures. The pages are the first bundled one of each kind and the first page that other
software made, with the first question of each: none is picked, and what is answered wrong stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from llava.files import replacing, write_text
from llava.metrics.match import exact_match
from llava.serve.parser import Parser
from scripts.entry import run

if TYPE_CHECKING:
    from llava.inference.answer import Answer
    from llava.inference.session import Session

DOCUMENTS = Path(__file__).parent.parent / "docs"
FOLDER = "gallery"
"""Of the pictures, beside the page."""
WIDTH, FILM_WIDTH = 900, 560
"""Pixels across, of pictures and of films."""
QUALITY = 60
"""Of WebP: print stays sharp at a small size."""
KINDS = 3
"""Of bundled pages; the first of each stand in front."""

_ABOUT = """\
# Gallery

What {model} answers, what was kept for it, and where the answer stands. `python -m scripts.make_gallery` draws this
page with the model that it finds. The questions are the first about the first page of each kind: none is picked, and
wrong answers stay.

Of every page there are two pictures. In the first, the paper is white where a patch was kept for the question, blue
where one was merged into its neighbor, and gray where one was dropped; beside it is the score that decided. In the
second, the most relevant of the kept patches are marked yellow, which says what the choice went by and not what the
language model read; frames show where the answer stands and what the question names.
[Choosing tokens](choosing-tokens.md) explains how patches are chosen. Of your own pages,
`lavida ask page.png "What is the total?" --heatmap kept.png --boxes where.png --film answer.gif` draws the same.
"""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question of the gallery."""

    name: str
    about: str
    """What kind of page it is."""
    image: Image.Image
    question: str
    golds: tuple[str, ...]
    answer_boxes: tuple[tuple[float, float, float, float], ...]
    evidence: tuple[tuple[float, float, float, float], ...]


def questions() -> Iterator[Asked]:
    """A question about each page."""
    from llava.eval.benchmarks.foreign import FOREIGN
    from llava.image_io import load_image
    from llava.serve.demo import GALLERIES, read_sheets
    from llava.serve.truth import find_truth

    folder = GALLERIES["typed"]
    for sheet in read_sheets(folder, 1)[:KINDS]:
        entry, image = sheet.entries[0], load_image(folder / sheet.file)
        truth = find_truth(str(folder / sheet.file), None, entry["question"], image, None)
        yield Asked(
            name=Path(sheet.file).stem,
            about="a drawn page of the test split",
            image=image,
            question=entry["question"],
            golds=(entry["answer"],),
            answer_boxes=truth.answer,
            evidence=truth.evidence,
        )
    sample = next(FOREIGN.samples(split="test", questions=1))
    printed = int(sample.traits["answer"] == "printed")  # then its own box stands before those of what is named
    yield Asked(
        name=Path(sample.page).name,
        about=f"a page that {sample.traits['program']} made",
        image=sample.image,
        question=sample.question,
        golds=sample.golds,
        answer_boxes=sample.evidence[:printed],
        evidence=sample.evidence[printed:],
    )


def draw(args: argparse.Namespace) -> None:
    """Ask, draw, and write the page.

    Raises:
        FileNotFoundError, ValueError: for a model that cannot be used, or a directory that cannot be written.
    """
    from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
    from llava.inference.session import Session

    out = args.out
    if not out.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no such directory; make it first")
    model = BUNDLED_MODEL if args.model is None else args.model
    sections = []
    with (
        Session.open(Checkpoint.resolve(model), device=args.device) as session,
        Session.open(Checkpoint.resolve(model, changes={"mode": "stock"}), device=args.device) as stock,
    ):
        if session.handle is None:
            raise ValueError(f"the settings of {model} say mode: stock, which keeps everything; nothing can be drawn")
        (out / FOLDER).mkdir(exist_ok=True)
        for old in (out / FOLDER).glob("*.webp"):
            old.unlink()
        for number, asked in enumerate(questions()):
            sections.append(show(asked, session, stock, out, film=number == 0))
            print(asked.name, file=sys.stderr)
    write_text("\n".join([_ABOUT.format(model=Path(model).name), *sections]), out / "gallery.md")
    size = sum(file.stat().st_size for file in (out / FOLDER).iterdir())
    print(f"{out / 'gallery.md'}, with {size / 1024:.0f} KiB of pictures")


def show(asked: Asked, session: Session, stock: Session, out: Path, *, film: bool) -> str:
    """Answer one question, write its pictures, and return its part of the page."""
    from llava.inference.film import Film

    answer = session.ask(asked.image, asked.question)
    plain = stock.ask(asked.image, asked.question)
    kept, boxes = f"{asked.name}-kept.webp", f"{asked.name}-boxes.webp"
    save(answer.heatmap(), out / FOLDER / kept)
    save(answer.boxes(answer=asked.answer_boxes, evidence=asked.evidence), out / FOLDER / boxes)
    lines = [
        f"## {asked.question}\n",
        f"{asked.name}, {asked.about}. Right: **{asked.golds[0]}**.\n",
        "| | answer | | confidence | tokens of the page | forwards |",
        "|---|---|---|---:|---:|---:|",
        row("SHIRG-X", answer, asked.golds),
        row("LaViDa's own encoding", plain, asked.golds),
        "",
        f"![What was kept of {asked.name} for the question, and the score of every patch]({FOLDER}/{kept})\n",
        f"![The same page with frames around the answer and what the question names]({FOLDER}/{boxes})\n",
    ]
    if film:
        name = f"{asked.name}-film.webp"
        step_by_step = session.ask(asked.image, asked.question, decoding="one-per-step")
        frames = session.film(step_by_step).frames
        Film(frames=tuple(shrunk(frame, FILM_WIDTH) for frame in frames)).save(out / FOLDER / name)
        lines.append("The same answer one position a step, as `--decoding one-per-step` gives it:\n")
        lines.append(f"![The answer as each step left it]({FOLDER}/{name})\n")
    return "\n".join(lines)


def row(way: str, answer: Answer, golds: Sequence[str]) -> str:
    """A line of the table."""
    text = " ".join(answer.text.replace("|", r"\|").split()) or "(empty)"
    verdict = "right" if exact_match(answer.text, golds) else "wrong"
    cells = (way, text, verdict, f"{answer.confidence:.2f}", f"{len(answer.prefix.tokens):,}", str(answer.forwards))
    return f"| {' | '.join(cells)} |"


def save(picture: Image.Image, path: Path) -> None:
    """Write a small copy of a picture."""
    with replacing(path) as file:
        shrunk(picture, WIDTH).save(file, "WEBP", quality=QUALITY, method=6)


def shrunk(picture: Image.Image, width: int) -> Image.Image:
    """The picture, so wide at most."""
    scale = min(1.0, width / picture.width)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def build_parser() -> Parser:
    parser = Parser(prog="make_gallery", description=__doc__)
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: a GPU if there is one)")
    parser.add_argument("--out", metavar="DIR", type=Path, default=DOCUMENTS, help="where it goes (default: docs)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), draw, arguments)


if __name__ == "__main__":
    sys.exit(main())
