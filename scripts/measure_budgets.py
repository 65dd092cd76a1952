"""Print which budgets a model's head picks for drawn pages, and whether they grow with what there is to see.

    python -m scripts.measure_budgets llava/assets/lavida-small --style typed_full
    python -m scripts.measure_budgets llava/assets/lavida-small --adapter runs/small/budget/final --plot budgets.png

A page is as full as the share of its patches that carry ink. Pages of each kind are split into quarters from the
emptiest to the fullest. The head is asked, whatever budget the settings fix. No language model runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track

from llava.eval.statistics import rank_correlation
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.pages import FAMILIES, SPLITS, STYLES, PageStream, inked_patches
from llava.serve.parser import Parser
from scripts.entry import check_file, run

if TYPE_CHECKING:
    from llava.inference.session import Session

QUARTERS = 4


def load(model: str, adapter: Path | None) -> Session:
    """The model with a head that is asked.

    Raises:
        FileNotFoundError, ValueError: as ``Session.load``, and if the model's settings say mode: stock.
    """
    checkpoint = Checkpoint.resolve(model, adapter=adapter, changes={"budget": "auto"})
    if checkpoint.shirg.mode == "stock":
        raise ValueError("the model's settings say mode: stock, so nothing picks a budget; choose another model")

    from llava.inference.session import Session

    return Session.open(checkpoint)


def measure(session: Session, family: str, split: str, style: str, pages: int) -> list[tuple[float, int]]:
    """How full each page is, from 0 to 1, and the budget picked for it."""
    found = []
    stream = PageStream(family, split, 0, style=style)
    for number in track(range(pages), description=family, console=Console(stderr=True), transient=True):
        image = stream[number].image
        encoded = session.encode(image).encoded
        assert encoded is not None
        assert encoded.budgets is not None
        found.append((float(inked_patches(image, encoded.dual.grids[0]).mean()), encoded.budgets[0]))
    return found


def summarize(found: Sequence[tuple[float, int]], budgets: Sequence[int]) -> dict[str, Any]:
    """Shares of the budgets, their mean, the mean in every quarter, and the rank correlation with fullness."""
    full, picked = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    quarters = np.array_split(picked[np.argsort(full, kind="stable")], QUARTERS)
    varied = len(set(picked)) > 1 and len(set(full)) > 1
    return {
        "pages": len(found),
        "share": {budget: float(np.mean(picked == budget)) for budget in budgets},
        "mean": float(picked.mean()),
        "quarters": [float(quarter.mean()) for quarter in quarters],
        "rank_correlation": rank_correlation(full.tolist(), picked.tolist()) if varied else None,
    }


def plot(found: dict[str, list[tuple[float, int]]], path: Path) -> None:
    """A point for every page: the budget picked over how full it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (family, rows), marker in zip(found.items(), "os^", strict=False):
        axes.scatter(*zip(*rows, strict=True), label=family.replace("_", " "), marker=marker, alpha=0.6)
    axes.set_xlabel("patches with ink")
    axes.set_ylabel("budget picked (K)")
    axes.legend()
    figure.savefig(path, dpi=130)


def build_parser() -> Parser:
    parser = Parser(prog="measure_budgets", description=__doc__)
    parser.add_argument(
        "model", nargs="?", default=str(BUNDLED_MODEL), help="directory or hub repository (default: the bundled one)"
    )
    parser.add_argument("--adapter", type=Path, help="an adapter's directory, such as one that trained a head alone")
    parser.add_argument(
        "--style",
        choices=list(STYLES),
        default="typed_full",
        help="size and density of the print (default: typed_full)",
    )
    parser.add_argument("--split", choices=SPLITS[:-1], default="validation", help="whose pages (default: validation)")
    parser.add_argument("--pages", type=int, default=60, help=f"of each kind, at least {QUARTERS} (default: 60)")
    parser.add_argument("--plot", type=Path, help="write a picture here")
    return parser


def report(args: argparse.Namespace) -> None:
    if args.pages < QUARTERS:
        raise ValueError(f"--pages must be at least {QUARTERS}, got {args.pages}")
    if args.plot is not None:
        check_file(args.plot)
    session = load(args.model, args.adapter)
    found = {family: measure(session, family, args.split, args.style, args.pages) for family in FAMILIES}
    if args.plot is not None:
        plot(found, args.plot)
    assert session.handle is not None
    budgets = session.handle.config.budgets
    everything = [row for rows in found.values() for row in rows]
    summary = {name: summarize(rows, budgets) for name, rows in {**found, "all": everything}.items()}
    for name, numbers in summary.items():
        shares = ", ".join(f"{share:.0%} K = {budget}" for budget, share in numbers["share"].items())
        quarters = " ".join(f"{mean:.0f}" for mean in numbers["quarters"])
        told = numbers["rank_correlation"]
        relation = "the same for all" if told is None else f"rank correlation {told:+.2f}"
        print(f"{name:12} {shares}; mean {numbers['mean']:.0f}, by quarters {quarters}; {relation}")
    print(json.dumps(summary))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), report, arguments)


if __name__ == "__main__":
    sys.exit(main())
