"""Compare many ways to choose tokens on the same questions: tables in Markdown and JSON, and plots.

    python -m scripts.ablate docs/results/main/settings.yaml
    python -m scripts.ablate docs/results/main/settings.yaml --set out=runs/quick tables=runs/quick 'budgets=[512]'

A killed run goes on when it is started again; rows that were answered before are read, not run. Answers go to
the settings' ``out``, numbers, tables and plots to their ``tables``.
"""

import argparse
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llava.serve.parser import Parser, read_changes
from llava.serve.requests import no_progress_bar
from scripts.entry import run


def build_parser() -> Parser:
    parser = Parser(prog="ablate", description=__doc__)
    parser.add_argument("config", type=Path, help="benchmarks, budgets and rows")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change settings")
    return parser


def ablate(args: argparse.Namespace) -> None:
    import torch

    from llava.eval.ablation import run_rows
    from llava.eval.ablation_config import AblationConfig
    from llava.eval.comparison import markdown_tables, summarize_cells
    from llava.eval.report import write_report
    from llava.provenance import provenance

    config = AblationConfig.from_yaml(args.config).replace(**read_changes(args.set))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True)
    with progress if console.is_interactive else nullcontext(), no_progress_bar():
        task = progress.add_task("", total=None)
        cells = run_rows(
            config,
            on_progress=lambda label, done, total: progress.update(
                task, description=label, completed=done, total=total
            ),
        )
    summaries = summarize_cells(cells)
    record = {
        "command": shlex.join(
            ["python", "-m", "scripts.ablate", str(args.config), *(["--set", *args.set] if args.set else [])]
        ),
        "made_by": provenance(torch.device("cpu")),
        "config": config.to_dict(),
        "cells": summaries,
    }
    write_report(record, Path(config.tables or config.out))
    print(markdown_tables(summaries))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), ablate, arguments)


if __name__ == "__main__":
    sys.exit(main())
