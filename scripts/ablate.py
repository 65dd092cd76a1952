"""Compare many ways to choose tokens on the same questions: tables in Markdown and JSON, and plots.

    python -m scripts.ablate configs/ablations/full.yaml
    python -m scripts.ablate configs/ablations/full.yaml --set out=runs/quick 'budgets=[512]'

A killed run goes on when it is started again; rows that were answered before are read, not run.
"""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llava.eval.ablation import AblationConfig, run_rows
from llava.eval.comparison import compact_tables, markdown_tables, summarize_cells
from llava.eval.plots import AXES, plot_rows
from llava.eval.provenance import provenance
from llava.serve.requests import no_progress_bar


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="benchmarks, budgets and rows")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change settings")
    return parser.parse_args(arguments)


def _value(change: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {change}: {' '.join(str(error).split())}") from error


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True)
    try:
        config = AblationConfig.from_yaml(args.config)
        for change in args.set:
            name, found, value = change.partition("=")
            if not found:
                raise ValueError(f"--set takes NAME=VALUE, got {change!r}")
            config = config.replace(**{name: _value(change, value)})
        with progress if console.is_interactive else nullcontext(), no_progress_bar():
            task = progress.add_task("", total=None)
            cells = run_rows(
                config,
                on_progress=lambda label, done, total: progress.update(
                    task, description=label, completed=done, total=total
                ),
            )
        summaries = summarize_cells(cells)
    except (FileNotFoundError, ValueError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2
    out, table = Path(config.out), markdown_tables(summaries)
    (out / "table.md").write_text(table + "\n")
    (out / "compact.md").write_text(compact_tables(summaries) + "\n")
    made_by = provenance(torch.device("cpu"))
    record = {"config": config.to_dict(), "made_by": made_by, "cells": summaries}
    (out / "table.json").write_text(json.dumps(record, indent=2) + "\n")
    for benchmark in dict.fromkeys(each["benchmark"] for each in summaries):
        for axis in AXES:
            plot_rows(summaries, benchmark, axis, out / f"{benchmark}-{axis}.png")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
