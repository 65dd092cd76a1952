"""The written result of a comparison: its numbers in JSON, and Markdown and plots that follow from that file alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llava.eval.comparison import compact_tables, markdown_tables, pace_tables
from llava.eval.plots import AXES, plot_rows
from llava.files import write_json, write_text


def write_report(record: Mapping[str, Any], folder: Path) -> None:
    """Write ``results.json``, ``results.md`` and, unless it is about denoising, the plots of a comparison.

    Args:
        record: ``command`` (what made it), ``made_by`` (``llava.provenance.provenance``), ``config`` (the
            comparison's) and ``cells`` (``summarize_cells``).
        folder: made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, folder / "results.json")
    # From the file and not from the values at hand, so that the page says what the file does.
    stored = read_report(folder)
    write_text(render(stored), folder / "results.md")
    if _is_about_denoising(stored):
        return  # all rows show the same tokens, so that there is no axis to draw them over
    for benchmark in dict.fromkeys(each["benchmark"] for each in stored["cells"]):
        for axis in AXES:
            plot_rows(stored["cells"], benchmark, axis, folder / f"{benchmark}-{axis}.png")


def read_report(folder: Path) -> dict[str, Any]:
    """What ``write_report`` stored.

    Raises:
        FileNotFoundError: if nothing was stored there.
    """
    return json.loads((folder / "results.json").read_text())


def render(record: Mapping[str, Any]) -> str:
    """The page about a stored comparison, in Markdown."""
    cells, made_by = record["cells"], record["made_by"]
    answers = {f"{each['commit']} on {each['device']}" for cell in cells for each in cell["provenance"]}
    return "\n".join(
        [
            f"Made by `{record['command']}`.",
            f"Tables at commit {made_by['commit']}, answers at {'; '.join(sorted(answers))}.",
            "Brackets hold the 95 % interval of a bootstrap over pages.",
            "",
            *_paces(record),
            overview_table(cells),
            "",
            compact_tables(cells),
            "",
            markdown_tables(cells),
            "",
        ]
    )


def _paces(record: Mapping[str, Any]) -> list[str]:
    """The cost of denoising, where the comparison is about that."""
    if not _is_about_denoising(record):
        return []
    told = (
        "Forwards are passes of an answer through the language model; the time is that of denoising, divided by the "
        "first row's on the same question, the median over the questions."
    )
    return [told, "", pace_tables(record["cells"]), ""]


def _is_about_denoising(record: Mapping[str, Any]) -> bool:
    return any(row.get("decoding") for row in record["config"].get("rows", ()))


def overview_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Quality and cost: a line per row at its first budget, with the tokens it shows and its exact match per benchmark.

    Tokens, and no times: those depend on what else the machine did.
    """
    return "\n".join(_overview(cells))


def _overview(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    benchmarks = list(dict.fromkeys(each["benchmark"] for each in cells))
    yield f"| way to choose | visual tokens | {' | '.join(benchmarks)} |"
    yield f"| --- | ---: | {' | '.join('---:' for _ in benchmarks)} |"
    for row in dict.fromkeys(each["row"] for each in cells):
        own = [each for each in cells if each["row"] == row]
        first = [next((each for each in own if each["benchmark"] == name), None) for name in benchmarks]
        known = [each for each in first if each is not None]
        tokens = sum(each["tokens"] for each in known) / len(known)
        scores = ["" if each is None else _score(each["metrics"]["exact_match"]) for each in first]
        yield f"| {row} | {tokens:,.0f} | {' | '.join(scores)} |"


def _score(score: Mapping[str, float]) -> str:
    return f"{score['mean']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
