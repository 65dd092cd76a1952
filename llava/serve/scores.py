"""Scores on the screen: a table of results, for the commands that end with one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from llava.eval.summary import VARIATION_FILE, format_score
from llava.inference.words import one_line
from llava.serve.display import stdout_console


def show_scores(summaries: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Print what ``write_summary`` gave for some results, and where they are."""
    console = stdout_console()
    console.print(_table(summaries))
    for summary in summaries:
        settings = summary["settings"]
        # Judged over the whole set, and too many columns beside the others.
        for metric in summary["scores"].keys() - settings["metrics"]:
            named = metric if settings["budget"] is None else f"{metric}, budget {settings['budget']}"
            console.print(Text(f"{named}: {format_score(summary['scores'][metric])}"), soft_wrap=True)
    for summary in summaries:
        budget = summary["settings"]["budget"]
        pace = f"{summary['forwards']:.2f} forwards an answer, {summary['tokens_per_forward']:.2f} tokens a forward"
        if summary["calibration_error"] is not None:
            pace += f", confidence off by {summary['calibration_error']:.2f} on average"
        console.print(Text(pace if budget is None else f"{pace}, budget {budget}"), soft_wrap=True)
    console.print(Text(f"the results are in {one_line(str(out))}"), soft_wrap=True)
    if any(summary["traits"] for summary in summaries):
        console.print(Text(f"scores by what differs from page to page are in {VARIATION_FILE} there"), soft_wrap=True)


def _table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table()
    for name in ("method", "budget", "tokens", "kind", "questions"):
        table.add_column(name, justify="left" if name in ("method", "kind") else "right")
    metrics = summaries[0]["settings"]["metrics"]
    for metric in metrics:
        table.add_column(metric, justify="right")
    for summary in summaries:
        budget = summary["settings"]["budget"]
        start = (
            summary["settings"]["method"],
            "" if budget is None else str(budget),
            f"{summary['total_tokens']:,.0f}",
        )
        rows = [("all", summary), *summary["kinds"].items()]
        for place, (kind, part) in enumerate(rows):
            scores = [format_score(part["scores"][metric]) for metric in metrics]
            cells = (*(("", "", "") if place else start), kind, f"{part['num_questions']:,}", *scores)
            # As Text, because rich would read brackets in a string as its markup.
            table.add_row(*map(Text, cells), end_section=place == len(rows) - 1)
    return table
