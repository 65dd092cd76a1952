"""Find the confidence below which a model's answers are mostly wrong, from answers that `lavida eval` has stored.

    lavida eval --benchmark docpage --split validation --questions 300 --out runs/sure/docpage
    python -m scripts.fit_confidence runs/sure/docpage/*
    python -m scripts.fit_confidence runs/sure/*/* --write llava/assets/lavida-small

Answers below it come with a warning (`unsure_below` in the model's config.json, where --write puts it). Use questions
of validation splits, and of benchmarks that judge by exact match.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from llava.files import write_json
from llava.model.config_file import read_config_file
from llava.serve.parser import Parser
from scripts.entry import run


def build_parser() -> Parser:
    parser = Parser(prog="fit_confidence", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", metavar="DIR", help="finished results, with one budget each")
    parser.add_argument("--write", type=Path, metavar="MODEL", help="a checkpoint's directory, to put it into")
    return parser


def fit(args: argparse.Namespace) -> None:
    if args.write is not None:
        read_config_file(args.write)

    from llava.eval.results import read_finished
    from llava.metrics.calibration import mostly_wrong_below

    sure: list[float] = []
    right: list[float] = []
    for directory in args.results:
        for record in read_finished(directory)[1]:
            if "exact_match" not in record.scores:
                raise ValueError(f"{directory} is not judged by exact_match; choose other results")
            sure.append(record.confidence)
            right.append(record.scores["exact_match"])
    # Rounded up, so that the answer at the border stays below it.
    limit = min(1.0, round(mostly_wrong_below(sure, right) + 5e-4, 3))
    below = [score for confidence, score in zip(sure, right, strict=True) if confidence < limit]
    above = [score for confidence, score in zip(sure, right, strict=True) if confidence >= limit]
    told = {
        "unsure_below": limit,
        "questions": len(sure),
        "below": len(below),
        "right_below": round(sum(below) / len(below), 3) if below else None,
        "right_above": round(sum(above) / len(above), 3) if above else None,
    }
    if args.write is not None:
        write_json({**read_config_file(args.write), "unsure_below": limit}, args.write / "config.json")
    print(json.dumps(told))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), fit, arguments)


if __name__ == "__main__":
    sys.exit(main())
