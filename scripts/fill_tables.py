"""Write the tables of README.md and docs/ anew from the stored comparisons in docs/results/.

    python -m scripts.fill_tables            # rewrites what differs, and names it
    python -m scripts.fill_tables --check    # changes nothing; exit code 2 if a table or a figure differs

``llava.eval.printed`` says how tables and figures are marked. The stored pages, docs/results/NAME/results.md, are drawn
anew as well. Figures in sentences are checked only: their sentences may have to change with them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from llava.files import write_text
from llava.serve.parser import Parser
from scripts.entry import run


def build_parser() -> Parser:
    parser = Parser(prog="fill_tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).parent.parent, help="of the documents (default: this repository)"
    )
    return parser


def documents(root: Path) -> Iterator[Path]:
    """The pages that may print stored results; those that are drawn from them are no such pages."""
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return (page for page in pages if page.is_file() and page.name != "results.md")


def fill(args: argparse.Namespace) -> None:
    from llava.eval.printed import fill_tables, printed_figures
    from llava.eval.report import read_report, render

    results = args.root / "docs" / "results"
    drawn = {each.parent / "results.md": render(read_report(each.parent)) for each in results.glob("*/results.json")}
    for page in documents(args.root):
        try:
            text = page.read_text()
            drawn[page] = fill_tables(text, results)
            wrong = [figure for figure in printed_figures(text, results) if not figure.agrees]
        except ValueError as error:
            raise ValueError(f"{page}: {error}") from error
        for figure in wrong:
            print(f"{page}:{figure.line}: {figure.printed} is printed, {figure.stored:.4f} is stored", file=sys.stderr)
        if wrong and args.check:
            raise ValueError(f"{page} prints other figures than the stored ones")
    changed = [page for page, text in drawn.items() if not page.is_file() or page.read_text() != text]
    if changed and args.check:
        raise ValueError(f"{', '.join(map(str, changed))}: not as stored; run python -m scripts.fill_tables")
    for page in changed:
        write_text(drawn[page], page)
        print(page)


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), fill, arguments)


if __name__ == "__main__":
    sys.exit(main())
