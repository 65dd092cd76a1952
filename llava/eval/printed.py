"""Tables and figures that documents print from stored comparisons: found, filled in, and checked.

A table stands under a comment that says where it comes from, its number if the stored page has several of its kind:

    <!-- docs/results/main: overview -->
    <!-- docs/results/main: compact 2 -->

A figure in a sentence is a link to the stored page, whose title names the cell and what of it is printed:

    [0.84](docs/results/main/results.md "SHIRG-X, docpage-typed_full-test, 512: exact_match")

In place of the budget stand ``auto``, or ``none`` for a row that has none.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.eval.comparison import compact_tables, markdown_tables, pace_tables
from llava.eval.report import overview_table, read_report

KINDS: Mapping[str, Callable[[Any], str]] = {
    "overview": overview_table,
    "compact": compact_tables,
    "full": markdown_tables,
    "pace": pace_tables,
}
"""What can stand behind a table's mark, and what draws it."""

_ROWS = r"(?:^\|.*(?:\n|\Z))"
_TABLE = re.compile(
    rf"(?P<mark>^<!-- docs/results/(?P<name>[\w-]+): (?P<kind>\w+)(?: (?P<number>\d+))? -->\n\n?)(?P<body>{_ROWS}*)",
    re.MULTILINE,
)
_ANY_MARK = re.compile(r"<!--\s*docs/results/.*?-->", re.DOTALL)
_FIGURE = re.compile(
    r"\[(?P<printed>[^\]]+)\]\((?:[\w./-]*/)?results/(?P<name>[\w-]+)/results\.(?:md|json)\s+\"(?P<title>[^\"]+)\"\)"
)
_TITLE = re.compile(r"(?P<row>.+), (?P<benchmark>[^,]+), (?P<budget>\d+|auto|question|none): (?P<what>[\w ]+)")
_NUMBER = re.compile(r"(?P<sign>[-+]?)(?P<digits>[\d,]+(?:\.(?P<decimals>\d+))?)(?P<percent> ?%)?")


@dataclass(frozen=True, kw_only=True)
class PrintedFigure:
    """A figure in a sentence, and the stored number it stands for."""

    line: int
    printed: str
    stored: float

    @property
    def agrees(self) -> bool:
        """Whether the stored number, rounded to the digits that are printed, is the printed one."""
        found = _NUMBER.fullmatch(self.printed.replace("−", "-"))  # noqa: RUF001 a minus sign is typeset so
        if found is None:
            return False
        value = self.stored * 100 if found["percent"] else self.stored
        decimals = len(found["decimals"] or "")
        printed = float(found["sign"] + found["digits"].replace(",", ""))
        return f"{value:.{decimals}f}" == f"{printed:.{decimals}f}"


def fill_tables(text: str, results: Path) -> str:
    """A document with every marked table as the stored comparison under ``results`` draws it.

    Raises:
        FileNotFoundError: if a mark names a comparison that is not stored.
        ValueError: if a mark is not of the form, or asks for a table that there is not.
    """
    marks = [found[0] for found in _ANY_MARK.finditer(text)]
    readable = [found["mark"].strip() for found in _TABLE.finditer(text)]
    if broken := [mark for mark in marks if mark not in readable]:
        raise ValueError(f"{broken[0]} is no mark of a table; write <!-- docs/results/NAME: {'|'.join(KINDS)} [N] -->")
    return _TABLE.sub(lambda found: found["mark"] + _table(found, results) + "\n", text)


def _table(found: re.Match[str], results: Path) -> str:
    if found["kind"] not in KINDS:
        raise ValueError(f"there is no table {found['kind']!r}; there are {', '.join(KINDS)}")
    drawn = KINDS[found["kind"]](read_report(results / found["name"])["cells"])
    tables = [table.rstrip("\n") for table in re.findall(rf"{_ROWS}+", drawn, re.MULTILINE)]
    number = int(found["number"] or 1)
    if not 1 <= number <= len(tables):
        raise ValueError(f"{found['name']} has {len(tables)} tables {found['kind']!r}, so none of number {number}")
    return tables[number - 1]


def printed_figures(text: str, results: Path) -> Iterator[PrintedFigure]:
    """Every figure of a document that names a stored cell.

    Raises:
        FileNotFoundError: if the comparison is not stored.
        ValueError: if the title is not of the form, or no such cell or number is stored.
    """
    for found in _FIGURE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        cells = read_report(results / found["name"])["cells"]
        yield PrintedFigure(line=line, printed=found["printed"], stored=_stored(found["title"], cells))


def _stored(title: str, cells: list[dict[str, Any]]) -> float:
    named = _TITLE.fullmatch(title)
    if named is None:
        raise ValueError(f"{title!r} names no number; write ROW, BENCHMARK, BUDGET: METRIC")
    budget = None if named["budget"] == "none" else named["budget"]
    own = [
        cell
        for cell in cells
        if (cell["row"], cell["benchmark"]) == (named["row"], named["benchmark"])
        and (cell["budget"] if cell["budget"] is None else str(cell["budget"])) == budget
    ]
    if len(own) != 1:
        raise ValueError(f"no cell {title!r} is stored; there are {sorted({cell['row'] for cell in cells})}")
    numbers = _numbers(own[0])
    if named["what"] not in numbers:
        raise ValueError(f"{title!r}: nothing is called {named['what']!r}; there are {', '.join(numbers)}")
    return numbers[named["what"]]


def _numbers(cell: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of a cell by the name under which a title asks for them."""
    plain = {name: value for name, value in cell.items() if isinstance(value, int | float) and name != "budget"}
    for metric, score in cell["metrics"].items():
        gap = score.get("difference", {})
        plain |= {metric: score["mean"], f"{metric} low": score["low"], f"{metric} high": score["high"]}
        for name, value in gap.items():
            plain[f"{metric} difference{'' if name == 'mean' else f' {name}'}"] = value
    return plain
