"""Tables and figures in documents are what the stored comparisons say, and a wrong one is found."""

from pathlib import Path
from typing import Any

import pytest

from llava.eval.comparison import compact_tables
from llava.eval.printed import fill_tables, printed_figures
from llava.eval.report import overview_table
from llava.files import write_json
from scripts.fill_tables import main

LINK = "docs/results/main/results.md"


def cell(row: str, budget: int | str | None, mean: float, benchmark: str = "docs") -> dict[str, Any]:
    gap = {"mean": -0.25, "low": -0.5, "high": -0.125, "p": 0.01}
    score = {"mean": mean, "low": mean - 0.125, "high": mean + 0.125, **({} if row == "ours" else {"difference": gap})}
    return {
        "row": row,
        "method": "shirg_x",
        "trained": True,
        "benchmark": benchmark,
        "budget": budget,
        "questions": 300,
        "pages": 75,
        "seeds": 1,
        "tokens": 1152.0,
        "milliseconds": 61.5,
        "forwards": 1.5,
        "tokens_per_forward": 2.25,
        "same_text": 0.875,
        "time_ratio": 0.31,
        "evidence_recall": None,
        "evidence_share": None,
        "with_evidence": None,
        "without_evidence": None,
        "metrics": {"exact_match": score},
        "provenance": [{"commit": "abc", "device": "a CPU"}],
    }


CELLS = [
    cell("ours", 512, 0.8361),
    cell("ours", "auto", 0.75),
    cell("stock", None, 0.5),
    cell("ours", 512, 0.25, "charts"),
    cell("stock", None, 0.125, "charts"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one stored comparison."""
    folder = tmp_path / "docs" / "results" / "main"
    folder.mkdir(parents=True)
    record = {"command": "python -m scripts.ablate x", "made_by": {"commit": "abc"}, "config": {}, "cells": CELLS}
    write_json(record, folder / "results.json")
    return tmp_path


@pytest.mark.parametrize("body", ["", "| old |\n| --- |\n| 1 |\n"])
def test_a_marked_table_is_filled_in(root: Path, body: str) -> None:
    text = f"# Page\n\n<!-- docs/results/main: overview -->\n\n{body}\nBehind it.\n"
    filled = fill_tables(text, root / "docs" / "results")
    assert filled == f"# Page\n\n<!-- docs/results/main: overview -->\n\n{overview_table(CELLS)}\n\nBehind it.\n"
    assert fill_tables(filled, root / "docs" / "results") == filled


def test_one_of_several_tables_is_chosen_by_its_number(root: Path) -> None:
    filled = fill_tables("<!-- docs/results/main: compact 1 -->\n", root / "docs" / "results")
    assert filled.split("-->\n")[1].strip() == compact_tables(CELLS).split("\n\n")[0]
    filled = fill_tables("<!-- docs/results/main: full 2 -->\n", root / "docs" / "results")
    assert "0.250 [0.125, 0.375]" in filled
    assert "0.836" not in filled
    filled = fill_tables("<!-- docs/results/main: pace -->\n", root / "docs" / "results")
    assert "| stock | 1.50 | 2.25 | 87.5% | 0.31 | 0.500 |" in filled


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("<!-- docs/results/main: best -->", "there is no table 'best'; there are overview, compact, full, pace"),
        ("<!-- docs/results/main: full 3 -->", "main has 2 tables 'full', so none of number 3"),
        ("<!-- docs/results/main overview -->", "is no mark of a table; write"),
    ],
)
def test_a_mark_that_means_nothing_is_refused(root: Path, mark: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fill_tables(f"{mark}\n\n| old |\n", root / "docs" / "results")


@pytest.mark.parametrize(
    ("printed", "title", "agrees"),
    [
        ("0.84", "ours, docs, 512: exact_match", True),
        ("84 %", "ours, docs, 512: exact_match", True),
        ("83.6 %", "ours, docs, 512: exact_match", True),
        ("0.83", "ours, docs, 512: exact_match", False),
        ("83 %", "ours, docs, 512: exact_match", False),
        ("0.75", "ours, docs, auto: exact_match", True),
        ("0.711", "ours, docs, 512: exact_match low", True),
        ("-0.25", "stock, docs, none: exact_match difference", True),
        ("−0.25", "stock, docs, none: exact_match difference", True),  # noqa: RUF001
        ("0.25", "stock, docs, none: exact_match difference", False),
        ("1,152", "stock, charts, none: tokens", True),
        ("300", "ours, docs, 512: questions", True),
        ("most", "ours, docs, 512: questions", False),
    ],
)
def test_a_figure_is_held_against_its_cell(root: Path, printed: str, title: str, agrees: bool) -> None:
    (figure,) = printed_figures(f'x\n\nIt answers [{printed}]({LINK} "{title}").', root / "docs" / "results")
    assert (figure.line, figure.agrees) == (3, agrees)


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("ours, docs, 768: exact_match", "no cell 'ours, docs, 768: exact_match' is stored"),
        ("ours, docs, 512: cider", "nothing is called 'cider'"),
        ("ours at 512", "names no number; write ROW, BENCHMARK, BUDGET: METRIC"),
    ],
)
def test_a_figure_without_a_cell_is_refused(root: Path, title: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(printed_figures(f'[0.84](results/main/results.md "{title}")', root / "docs" / "results"))


def test_the_script_fills_and_then_finds_nothing_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = root / "README.md"
    page.write_text(f'<!-- docs/results/main: overview -->\n\n[0.84]({LINK} "ours, docs, 512: exact_match")\n')
    assert main(["--root", str(root), "--check"]) == 2
    assert main(["--root", str(root)]) == 0
    assert set(capsys.readouterr().out.split()) == {str(page), str(root / LINK)}
    assert overview_table(CELLS) in page.read_text()
    assert main(["--root", str(root), "--check"]) == 0
    page.write_text(page.read_text().replace("[0.84]", "[0.85]"))
    assert main(["--root", str(root), "--check"]) == 2
    assert "README.md prints other figures than the stored ones" in capsys.readouterr().err
