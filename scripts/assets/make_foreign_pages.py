"""Make the pages of the benchmark ``foreign`` with other software, and ``questions.json`` with what is asked.

    python -m scripts.assets.make_foreign_pages llava/eval/benchmarks/foreign

Needs programs that nothing else here needs. On Debian, as root:

    apt-get install --no-install-recommends chromium libreoffice-writer-nogui libreoffice-calc-nogui \\
        texlive-latex-base texlive-latex-recommended texlive-fonts-recommended lmodern gnuplot-nox groff ghostscript
    scripts/assets/install_print.sh runs/pdfs      # the faces of type
    pip install jinja2 pikepdf typst vl-convert-python

The same versions of all of them give the same pages: seeds are fixed and dates are left out; only Vega's files may
differ, in the order of their parts. Where an answer and what the question names stand is read off the finished
page by PDFium; a page on which they are not printed is an error.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdfium2

from llava.serve.parser import Parser
from scripts.assets.foreign.draft import ABSENT, Ask, Draft, Layout
from scripts.assets.foreign.finding import Box, Letters, find_together, read_letters
from scripts.assets.foreign.layouts import LAYOUTS
from scripts.assets.foreign.programs import PROGRAMS, slimmed, without_dates
from scripts.assets.foreign.words import Words
from scripts.entry import run

SEED = 20
LARGE = 1.4
"""How many times larger than the others the sheet of a layout's third page is, and its print smaller."""
TEMPLATES = Path(__file__).parent / "foreign" / "templates"
_TEX = str.maketrans({**{sign: f"\\{sign}" for sign in "&%$#_{}"}, "\u2212": "--", "~": "\\textasciitilde{}"})


def make_page(layout: Layout, number: int) -> tuple[bytes, Draft]:
    """The PDF of one page and what is asked about it; every number is another page, the same each time."""
    draft = layout.write(Words(f"{SEED} {layout.program} {layout.name} {number}"))
    if number > 1:  # one page of each layout is enough to ask in vain about
        draft = replace(draft, asks=tuple(ask for ask in draft.asks if ask.answer != ABSENT))
    if draft.draw is not None:
        return draft.draw(), draft
    source = _filled(layout.template, draft, LARGE if number > 2 else 1)
    return slimmed(without_dates(PROGRAMS[layout.program](source))), draft


def _filled(template: str, draft: Draft, sheet: float) -> str:
    """A template's text with the page's words, on a sheet so many times larger than usual.

    TeX and typst have braces of their own, so that the marks in their templates are others.
    """
    import jinja2

    ending = template.rpartition(".")[2]
    marks: dict[str, Any] = {}
    if ending in ("tex", "typ"):
        marks = {
            "variable_start_string": "<<",
            "variable_end_string": ">>",
            "block_start_string": "<%",
            "block_end_string": "%>",
        }
        marks |= {"comment_start_string": "<!", "comment_end_string": "!>"}
    room = jinja2.Environment(autoescape=ending in ("html", "fodt", "fods"), undefined=jinja2.StrictUndefined, **marks)
    room.filters["tex"] = lambda text: str(text).translate(_TEX)
    return room.from_string((TEMPLATES / template).read_text(encoding="utf-8")).render(sheet=sheet, **draft.words)


def note_page(
    name: str, layout: Layout, pdf: bytes, asks: Iterable[Ask]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What ``questions.json`` says of one page and of its questions.

    Raises:
        ValueError: if it is not a single page, or an answer or what a question names is not printed on it.
    """
    document = pypdfium2.PdfDocument(pdf)
    if len(document) != 1:
        raise ValueError(f"{name} has {len(document)} pages")
    letters = read_letters(document[0])
    width, height = document[0].get_size()
    page = {
        "program": layout.program, "layout": layout.name, "split": layout.split, "letters": round(letters.size, 1),
        "shape": round(width / height, 2),
    }  # fmt: skip
    questions = []
    for place, ask in enumerate(asks):
        try:
            evidence = _evidence(letters, ask)
        except ValueError as error:
            raise ValueError(f"{name}, {ask.question!r}: {error} in {letters.text!r}") from error
        questions.append(
            {
                "id": f"{name}-{place}", "page": name, "kind": ask.kind, "question": ask.question,
                "answers": [ask.answer, *ask.also], "printed": ask.printed,
                "evidence": [[round(edge, 4) for edge in box] for box in evidence],
            }
        )  # fmt: skip
    return page, questions


def _evidence(letters: Letters, ask: Ask) -> list[Box]:
    """Boxes of the answer, where it is printed, and then of what the question names."""
    if ask.answer == ABSENT:
        shown = [words for words in ask.beside if letters.find(words, flags=re.IGNORECASE)]
        if shown:
            raise ValueError(f"{shown} is on the page, whose question should have no answer")
        return []
    if not ask.printed:
        return [letters.find(words)[0] for words in ask.beside if letters.find(words)]
    answer, beside = find_together(letters, ask.answer, ask.beside)
    return [answer, *beside]


def make_all(folder: Path, layouts: Iterable[Layout] = LAYOUTS) -> None:
    """Write every page and ``questions.json`` into the folder."""
    pages, questions = {}, []
    for layout in layouts:
        for number in range(1, layout.pages + 1):
            name = f"{layout.program}_{layout.name}_{number}"
            pdf, draft = make_page(layout, number)
            pages[name], asked = note_page(name, layout, pdf, draft.asks)
            questions += asked
            (folder / f"{name}.pdf").write_bytes(pdf)
            print(f"{name}: {len(pdf):,} bytes, {pages[name]['letters']} px, {len(asked)} questions")
    listed = ",\n  ".join(json.dumps(question, ensure_ascii=False) for question in questions)
    shown = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(page)}" for name, page in pages.items())
    text = f'{{"pages": {{\n  {shown}\n }},\n "questions": [\n  {listed}\n ]}}\n'
    (folder / "questions.json").write_text(text, encoding="utf-8")
    print(f"{len(pages)} pages, {len(questions)} questions")


def build_parser() -> Parser:
    parser = Parser(prog="make_foreign_pages", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pages go")
    parser.add_argument("--only", nargs="+", metavar="LAYOUT", help="make these alone, such as chromium_menu")
    return parser


def make(args: argparse.Namespace) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    make_all(
        args.folder, [layout for layout in LAYOUTS if not args.only or f"{layout.program}_{layout.name}" in args.only]
    )


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), make, arguments)


if __name__ == "__main__":
    sys.exit(main())
