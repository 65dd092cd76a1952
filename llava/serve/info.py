"""``lavida info``: what a checkpoint is, from its config and the headers of its weight files alone."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from llava.inference.words import one_line
from llava.serve.display import print_json, stdout_console, working
from llava.serve.requests import checkpoint_of


def run(args: argparse.Namespace) -> None:
    """Print what is known of a model.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint, or it is broken.
    """
    checkpoint = checkpoint_of(args)
    with working("reading the headers"):
        from llava.serve.facts import describe

        facts = describe(checkpoint)
    if args.json:
        print_json(facts)
    else:
        stdout_console().print(_table(facts))


def _table(facts: Mapping[str, Any]) -> Table:
    table = Table(
        title=Text(f"LaViDa: {one_line(facts['model'])}"), title_justify="left", show_header=False, expand=False
    )
    table.add_column(style="bold")
    table.add_column()
    table.add_column(justify="right")
    for part, count in facts["parameters"].items():
        table.add_row("" if table.row_count else "parameters", part, f"{count:,}")
    fresh = facts["fresh_shirg_x_parameters"]
    table.add_row("", "all", f"{facts['total_parameters']:,}", end_section=not fresh)
    if fresh:
        table.add_row("", "SHIRG-X, not in the checkpoint", f"{fresh:,}", end_section=True)
    if adapter := facts["adapter"]:
        table.add_row("adapter", one_line(adapter["directory"]), f"{adapter['parameters']:,}")
        table.add_row("", f"{adapter['scope']}, trained on {one_line(adapter['base'])}", "", end_section=True)
    table.add_row(
        "weights", ", ".join(facts["dtypes"]), _size(facts["total_bytes"]), end_section=not facts["untrained"]
    )
    if facts["untrained"]:
        table.add_row("", "untrained: the answers mean nothing", "", end_section=True)
    _add_rows(table, "language model", facts["language"])
    _add_rows(table, "vision tower", facts["vision"])
    _add_rows(table, "special ids", facts["special_ids"])
    from llava.serve.facts import SIZES

    tokens = facts["image_tokens"]
    stock = {f"LaViDa, {width} x {height}": tokens[key] for key, (width, height) in SIZES.items()}
    _add_rows(table, "image tokens", stock | {f"SHIRG-X, K = {k}": count for k, count in tokens["shirg_x"].items()})
    cost = {
        f"{name} of {each['candidates']:,} patches": (
            f"{_flops(each['tower_flops'])} + {_flops(each['language_flops'])}"
        )
        for name, each in facts["tiles"].items()
    }
    _add_rows(table, "tiles: tower + language model", cost)
    return table


def _flops(count: float) -> str:
    return f"{count / 1e12:,.2f} TFLOP" if count >= 1e11 else f"{count / 1e9:,.1f} GFLOP"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def _add_rows(table: Table, title: str, values: Mapping[str, int | str | Sequence[int] | None]) -> None:
    for number, (name, value) in enumerate(values.items()):
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        last = number == len(values) - 1
        table.add_row(title if number == 0 else "", name.replace("_", " "), shown, end_section=last)
