"""Ask the same questions of a model as it is loaded and with weights of one byte, and store what differs.

    python -m scripts.compare_weights --questions 100 --out docs/results/speed/int8.json

Pages are encoded once, before the language model's weights are rounded. Time is this process's processor time from the
choice of tokens to the answer, and only its ratio means anything. Questions are those of validation pages.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from llava.files import write_json, write_text
from llava.inference.checkpoint import BUNDLED_MODEL
from llava.serve.parser import Parser
from scripts.entry import check_file, run

if TYPE_CHECKING:
    from llava.inference.session import Session

BENCHMARKS = ("docpage", "chartpage")


def ask(session: Session, asked: Sequence[tuple[Any, Any]], what: str) -> tuple[list[Any], float]:
    """The answers about prepared pages (page, sample), and the seconds of processor time that they took."""
    start = time.process_time()
    bar = track(asked, description=what, console=Console(stderr=True), transient=True)
    return [session.answer(page, sample.question) for page, sample in bar], time.process_time() - start


def compare(session: Session, style: str, questions: int) -> dict[str, Any]:
    """What both sides say, for each benchmark; the session's weights are rounded afterwards."""
    from llava.eval.benchmarks.registry import BENCHMARKS as REGISTRY
    from llava.inference.optimizations import Optimizations

    asked: dict[str, list[tuple[Any, Any]]] = {}
    for name in BENCHMARKS:
        pages: dict[str, Any] = {}
        asked[name] = []
        samples = REGISTRY[name].samples(split="validation", style=style, questions=questions)
        for sample in track(list(samples), description=name, console=Console(stderr=True), transient=True):
            if sample.page not in pages:
                views = getattr(session.model.config, "image_view", None)
                pages[sample.page] = session.encode(sample.picture_for(views))
            asked[name].append((pages[sample.page], sample))
    full_bytes = weight_bytes(session)
    full = {name: ask(session, asked[name], f"{name}, as loaded") for name in BENCHMARKS}
    Optimizations(weights="int8").apply(session.model)
    small = {name: ask(session, asked[name], f"{name}, int8") for name in BENCHMARKS}
    rows = {}
    for name in BENCHMARKS:
        (first, spent), (second, spent_small) = full[name], small[name]
        golds = [sample.golds for _, sample in asked[name]]
        rows[name] = {
            "questions": len(golds),
            "equal_texts": sum(one.text == other.text for one, other in zip(first, second, strict=True)),
            "exact_match": [_share(answers, golds) for answers in (first, second)],
            "forwards": [sum(one.forwards for one in answers) for answers in (first, second)],
            "time": spent_small / spent,
        }
    return {"bytes": [full_bytes, weight_bytes(session)], "benchmarks": rows}


def weight_bytes(session: Session) -> int:
    """What all parameters of the model take."""
    return sum(each.numel() * each.element_size() for each in session.model.parameters())


def _share(answers: Sequence[Any], golds: Sequence[tuple[str, ...]]) -> float:
    from llava.metrics.match import exact_match

    return sum(exact_match(one.text, right) for one, right in zip(answers, golds, strict=True)) / len(golds)


def _command(args: argparse.Namespace) -> str:
    words = ["--model", args.model] if args.model != str(BUNDLED_MODEL) else []
    words += ["--style", args.style, "--questions", str(args.questions), "--out", str(args.out)]
    return shlex.join(["python", "-m", "scripts.compare_weights", *words])


def markdown(result: dict[str, Any]) -> str:
    """The table, with what it was made by."""
    rows = [["pages", "questions", "equal texts", "exact match", "int8", "forwards", "int8", "time"]]
    rows.append(["---", *["---:"] * 7])
    for name, row in result["benchmarks"].items():
        matches, forwards = (f"{row['exact_match'][side]:.3f}" for side in (0, 1)), map(str, row["forwards"])
        cells = [name, str(row["questions"]), str(row["equal_texts"]), *matches, *forwards, f"{row['time']:.2f}"]
        rows.append(cells)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    before, after = (each / 1e6 for each in result["bytes"])
    return (
        f"`{result['command']}`\n\n{table}\n{result['model']}, {result['style']}, {result['dtype']}: {before:.1f} MB of"
        f" weights, and {after:.1f} MB with int8; time of int8 over that of the others; {result['device']}, "
        f"{result['threads']} threads, commit {result['commit']}.\n"
    )


def build_parser() -> Parser:
    parser = Parser(prog="compare_weights", description=__doc__)
    parser.add_argument("--model", default=str(BUNDLED_MODEL), help="directory or hub repository (default: bundled)")
    parser.add_argument("--style", default="typed_full", help="of the drawn pages (default: typed_full)")
    parser.add_argument("--questions", type=int, default=100, help="about each kind of page (default: 100)")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file; a table goes beside it")
    return parser


def report(args: argparse.Namespace) -> None:
    check_file(args.out)
    from llava.inference.session import Session
    from llava.provenance import provenance

    session = Session.load(args.model)
    result = {
        "command": _command(args),
        "model": Path(args.model).name,
        "style": args.style,
        "dtype": str(session.model.dtype).removeprefix("torch."),
        **compare(session, args.style, args.questions),
        **provenance(session.model.device),
    }
    write_json(result, args.out)
    write_text(markdown(result), args.out.with_suffix(".md"))
    print(markdown(result))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), report, arguments)


if __name__ == "__main__":
    sys.exit(main())
