"""Find the mass of relevance for `budget: question`: the smallest that keeps what questions of validation pages need.

    python -m scripts.fit_question_budget llava/assets/lavida-small --out docs/results/question_budget
    python -m scripts.fit_question_budget runs/small/best --benchmark docpage foreign --questions 200 --out runs/mass

Every question is asked at all budgets on offer; no language model runs. The fitted mass is the smallest at which all
evidence survives for as many questions as with the largest budget, but for the slack. OUT/results.json holds it with
the numbers behind it, for `question_mass` in the settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from llava.files import write_json
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.serve.parser import Parser
from scripts.entry import check_file, run

if TYPE_CHECKING:
    from llava.eval.benchmarks.benchmark import BenchmarkSample
    from llava.inference.session import Session


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one question needs, at each budget on offer."""

    kind: str
    shares: tuple[float, ...]
    """Of the relevance that is kept."""
    survives: tuple[bool, ...]
    """Whether all of its evidence is."""


def measure(session: Session, samples: Iterable[BenchmarkSample]) -> list[Need]:
    """The needs of questions; those without inked evidence are left out. Samples of a page stand together."""
    import torch

    from llava.eval.evidence import evidence_patches_of
    from shirg.question_budget import question_shares
    from shirg.shirg_selector import select
    from shirg.survival import surviving_patches

    handle, found, name, page = session.handle, [], None, None
    assert handle is not None
    with torch.no_grad():
        for sample in samples:
            if sample.page != name:
                name, page = sample.page, session.encode(sample.image).encoded
            assert page is not None
            wanted = evidence_patches_of(sample, page.dual.grids[0]).to(page.dual.detail.device)
            if not bool(wanted.any()):
                continue
            similarity = handle.similarity(page, [session.prompt(sample.question)[1]])
            survives = []
            for budget in handle.config.question_budgets:
                fits = min(budget, page.candidate_counts[0])
                tokens, _ = select(page.dual, similarity, handle.config, [fits], candidate_counts=page.candidate_counts)
                survives.append(bool(surviving_patches(page.dual, tokens)[0, wanted].all()))
            shares = question_shares(page.dual, similarity, handle.config)[0].tolist()
            found.append(Need(kind=sample.kind, shares=tuple(shares), survives=tuple(survives)))
    return found


def picked(needs: Sequence[Need], mass: float) -> NDArray[np.int64]:
    """The place, among the budgets on offer, of the one that each question gets at this mass."""
    enough = np.array([need.shares for need in needs]) >= mass
    return np.where(enough.any(1), enough.argmax(1), enough.shape[1] - 1)


def survival(needs: Sequence[Need], places: NDArray[np.int64]) -> float:
    """Of how many questions all evidence survives, each at the budget of its place."""
    return float(np.mean([need.survives[place] for need, place in zip(needs, places, strict=True)]))


def fit(needs: Sequence[Need], slack: float) -> float:
    """A mass that picks as the smallest does at which evidence survives for as many questions as with the largest
    budget, but for ``slack``."""
    largest = np.full(len(needs), len(needs[0].shares) - 1)
    goal = survival(needs, largest) - slack
    masses = sorted({0.0, *(share for need in needs for share in need.shares)})
    # More mass never means fewer tokens, so the smallest that reaches the goal is found by halving.
    low, high = 0, len(masses) - 1
    while low < high:
        middle = (low + high) // 2
        if survival(needs, picked(needs, masses[middle])) >= goal:
            high = middle
        else:
            low = middle + 1
    # Every mass between two neighbors picks alike; the middle leaves room on both sides.
    return float(np.mean(masses[max(0, low - 1) : low + 1]))


def summarize(needs: Sequence[Need], budgets: Sequence[int], mass: float) -> dict[str, Any]:
    """Questions, the median of what they need (None where most need more than is offered), the mean of what they get,
    and of how many all evidence survives, with the question's budget and with each fixed one."""
    places = picked(needs, mass)
    offered = np.array(budgets, dtype=float)
    least = [offered[need.survives.index(True)] if any(need.survives) else np.inf for need in needs]
    middle = float(np.median(least))
    return {
        "questions": len(needs),
        "needed_median": middle if np.isfinite(middle) else None,
        "mean": float(offered[places].mean()),
        "survives": survival(needs, places),
        "fixed": {str(budget): survival(needs, np.full(len(needs), place)) for place, budget in enumerate(budgets)},
    }


def build_parser() -> Parser:
    parser = Parser(prog="fit_question_budget", description=__doc__)
    parser.add_argument(
        "model", nargs="?", default=str(BUNDLED_MODEL), help="directory or hub repository (default: the bundled one)"
    )
    parser.add_argument("--adapter", type=Path, help="an adapter's directory")
    parser.add_argument(
        "--benchmark",
        nargs="+",
        default=["docpage", "chartpage", "entitygrid"],
        help="whose validation split is asked (default: docpage chartpage entitygrid)",
    )
    parser.add_argument("--style", help="of drawn pages (default: what the model's config.json names as page_style)")
    parser.add_argument("--questions", type=int, default=300, help="of each benchmark (default: 300)")
    parser.add_argument(
        "--slack", type=float, default=0.02, help="share of questions that may lose evidence for it (default: 0.02)"
    )
    parser.add_argument("--out", type=Path, required=True, help="directory of results.json")
    return parser


def report(args: argparse.Namespace) -> None:
    if not 0 <= args.slack < 1:
        raise ValueError(f"--slack must be at least 0 and less than 1, got {args.slack}")
    args.out.mkdir(parents=True, exist_ok=True)
    check_file(args.out / "results.json")
    checkpoint = Checkpoint.resolve(args.model, adapter=args.adapter, changes={"budget": "question"})
    if checkpoint.shirg.mode == "stock":
        raise ValueError("the model's settings say mode: stock, so nothing is chosen; choose another model")

    from llava.eval.benchmarks.registry import find_benchmark
    from llava.inference.session import Session
    from llava.provenance import provenance

    asked = {}
    for name in args.benchmark:
        benchmark = find_benchmark(name)
        style = (args.style or checkpoint.entries.get("page_style") or benchmark.style) if benchmark.styles else None
        asked[name] = benchmark.samples(split="validation", style=style, questions=args.questions)
    session = Session.open(checkpoint)
    needs: dict[str, list[Need]] = {}
    for name, samples in asked.items():
        progress = track(samples, description=name, total=args.questions, console=Console(stderr=True), transient=True)
        needs[name] = measure(session, progress)
    everything = [need for found in needs.values() for need in found]
    if not everything:
        raise ValueError("no question has evidence with ink; choose other benchmarks")
    assert session.handle is not None
    config = session.handle.config
    mass = fit(everything, args.slack)
    groups = {"all": everything, **needs}
    for name, found in needs.items():
        groups |= {f"{name}, {kind}": [n for n in found if n.kind == kind] for kind in sorted({n.kind for n in found})}
    result = {
        "command": " ".join(["python -m scripts.fit_question_budget", *args.words]),
        "question_mass": mass,
        "slack": args.slack,
        "shirg_x": config.to_dict(),
        "budgets": list(config.question_budgets),
        "groups": {name: summarize(found, config.question_budgets, mass) for name, found in groups.items() if found},
        "provenance": provenance(session.model.device),
    }
    write_json(result, args.out / "results.json")
    for name, numbers in result["groups"].items():
        needed = numbers["needed_median"]
        least = f"more than {config.question_budgets[-1]}" if needed is None else f"{needed:.0f}"
        print(
            f"{name:36} {numbers['questions']:4} questions need {least} (median) and get {numbers['mean']:.0f} (mean); "
            f"all evidence survives for {numbers['survives']:.0%}"
        )
    print(json.dumps({"question_mass": mass}))


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    parser.set_defaults(words=sys.argv[1:] if arguments is None else arguments)
    return run(parser, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
