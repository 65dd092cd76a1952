"""Print which budgets a model's head picks for drawn pages, and whether they grow with what there is to see.

    python -m scripts.measure_budgets llava/assets/lavida-small --style typed_full
    python -m scripts.measure_budgets llava/assets/lavida-small --adapter runs/small/budget/final --plot budgets.png

A page is as full as the share of its patches that carry ink. Pages of each kind are split into quarters from the
emptiest to the fullest. Neither the vision tower nor the language model runs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from llava.eval.statistics import rank_correlation
from llava.mm_utils import process_images
from llava.serve.session import Session
from llava.serve.settings import BUNDLED_MODEL
from llava.train.pages import FAMILIES, SPLITS, STYLES, PageStream, inked_patches
from shirg.budget import predict_budgets

QUARTERS = 4


@torch.no_grad()
def measure(session: Session, family: str, split: str, style: str, pages: int) -> list[tuple[float, int]]:
    """How full each page is, from 0 to 1, and the budget picked for it."""
    handle = session.handle
    if handle is None:
        raise ValueError("the model's settings say mode: stock, so nothing picks a budget; choose another model")
    found = []
    stream = PageStream(family, split, 0, style=style)
    for number in track(range(pages), description=family, console=Console(stderr=True), transient=True):
        image = stream[number].image
        (view,) = process_images([image], session.image_processor, session.model.config)
        logits = handle.budget_logits(view.to(session.model.device))
        (budget,) = predict_budgets(logits, handle.config.budgets)
        found.append((float(inked_patches(image, handle.config.grid).mean()), budget))
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
    """The mean budget over how full pages are, a line for each kind of page."""
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="measure_budgets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default=str(BUNDLED_MODEL), help="directory or hub repository")
    parser.add_argument("--adapter", type=Path, help="an adapter's directory, such as one that trained a head alone")
    parser.add_argument("--style", choices=list(STYLES), default="typed_full")
    parser.add_argument("--split", choices=SPLITS[:-1], default="validation")
    parser.add_argument("--pages", type=int, default=60, help="of each kind")
    parser.add_argument("--plot", type=Path, help="write a picture here")
    args = parser.parse_args(arguments)
    try:
        if args.pages < QUARTERS:
            raise ValueError(f"--pages must be at least {QUARTERS}, got {args.pages}")
        session = Session.load(args.model, adapter=args.adapter)
        found = {family: measure(session, family, args.split, args.style, args.pages) for family in FAMILIES}
        if args.plot is not None:
            plot(found, args.plot)
    except (OSError, ValueError) as error:
        print(f"measure_budgets: {error}", file=sys.stderr)
        return 2
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
