"""``lavida eval``: how well a model answers a benchmark's questions, and tables of several results."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from llava.eval.asked import Asked
from llava.eval.benchmarks.benchmark import Benchmark
from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.methods import Budget, Method, directory_names
from llava.eval.results import ResultSet
from llava.eval.shards import Shard, merge_shards
from llava.eval.summary import compare, format_score, write_summary
from llava.inference.checkpoint import Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.words import one_line
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.seeds import MAX_SEED
from llava.serve.display import stdout_console
from llava.serve.requests import checkpoint_of, load_session, naming_options


def run(args: argparse.Namespace) -> None:
    """Evaluate and print a table, or print a comparison of finished results.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    if args.compare is not None:
        if args.benchmark is not None or args.out is not None:
            raise ValueError("--compare reads finished results; leave out --benchmark and --out")
        print(compare([Path(name) for name in args.compare]))
        return
    if args.merge is not None:
        if args.benchmark is not None or args.out is not None:
            raise ValueError("--merge reads finished shards; leave out --benchmark and --out")
        _merge(Path(args.merge))
        return
    benchmark, decoding, out = _benchmark(args), _decoding(args), _out(args)
    checkpoint = checkpoint_of(args)
    method = _method(args, checkpoint)
    asked = _asked(args, benchmark, _style(args, benchmark, checkpoint))
    results = _answer(args, asked, method, checkpoint, decoding, out)
    _show([write_summary(stored, benchmark.corpus_metrics) for stored in results.values()], out)


def _answer(
    args: argparse.Namespace,
    asked: Asked,
    method: Method,
    checkpoint: Checkpoint,
    decoding: DecodingConfig,
    out: Path,
) -> dict[Budget, ResultSet]:
    """The results of each budget, with every question answered."""
    session = load_session(args, checkpoint.encoding(method.patch_settings))

    from llava.eval.encoder import PageEncoder
    from llava.eval.evaluate import evaluate, resolved_settings, source_of
    from llava.provenance import provenance

    encoder = PageEncoder(session=session, method=method, seed=args.seed)
    source = source_of(session, checkpoint)
    where = {**provenance(session.model.device), "batch_size": args.batch_size}
    results: dict[Budget, ResultSet] = {}
    for budget, name in zip(method.budgets, directory_names(method.budgets), strict=True):
        place = out / name if asked.shard is None else out / name / asked.shard.directory
        results[budget] = ResultSet(place, resolved_settings(asked, encoder, decoding, budget, source), where)
    console = Console(stderr=True)
    columns = (TextColumn("questions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True)
    with progress if console.is_interactive else nullcontext():
        task = progress.add_task("questions", total=asked.count)
        evaluate(
            asked,
            encoder,
            results,
            decoding,
            batch_size=args.batch_size,
            on_batch=lambda done: progress.update(task, completed=done),
        )
    return results


def _merge(directory: Path) -> None:
    _show([merge_shards(directory)], directory)


def _show(summaries: Sequence[Mapping[str, Any]], out: Path) -> None:
    console = stdout_console()
    console.print(_table(summaries))
    for summary in summaries:
        settings = summary["settings"]
        # Judged over the whole set, and too many columns beside the others.
        for metric in summary["scores"].keys() - settings["metrics"]:
            named = metric if settings["budget"] is None else f"{metric}, budget {settings['budget']}"
            console.print(Text(f"{named}: {format_score(summary['scores'][metric])}"), soft_wrap=True)
    console.print(Text(f"the results are in {one_line(str(out))}"), soft_wrap=True)


def _benchmark(args: argparse.Namespace) -> Benchmark:
    for name in ("benchmark", "out"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is missing; give it, or --compare with finished results")
    if not 0 <= args.seed <= MAX_SEED:
        raise ValueError(f"--seed must lie between 0 and {MAX_SEED}, got {args.seed}")
    for name in ("questions", "batch_size"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.method == "stock" and args.config is not None:
        raise ValueError("--config belongs to SHIRG-X, which --method stock does without; leave one of them out")
    return find_benchmark(args.benchmark)


def _style(args: argparse.Namespace, benchmark: Benchmark, checkpoint: Checkpoint) -> str | None:
    """The style asked for, else the one that the checkpoint was trained on: in others, most models read nothing."""
    if args.style is not None or not benchmark.styles:
        return str(args.style) if args.style is not None else None
    if checkpoint.page_style is None:
        raise ValueError(
            f"{checkpoint.model} does not say which style of drawn pages it was trained on (page_style in its "
            f"config.json); choose one with --style: {', '.join(benchmark.styles)}"
        )
    return checkpoint.page_style


def _asked(args: argparse.Namespace, benchmark: Benchmark, style: str | None) -> Asked:
    # Last of all checks, because a data set may have to be downloaded for it.
    return Asked(
        benchmark=benchmark,
        split=benchmark.splits[0] if args.split is None else args.split,
        style=style,
        questions=benchmark.questions if args.questions is None else args.questions,
        data=args.data,
        shard=None if args.shard is None else Shard.parse(args.shard),
    )


def _decoding(args: argparse.Namespace) -> DecodingConfig:
    with naming_options(args):
        return replace(
            DECODING,
            max_new_tokens=args.tokens,
            block_length=args.block_length,
            steps=args.steps,
            threshold=args.threshold,
        )


def _method(args: argparse.Namespace, checkpoint: Checkpoint) -> Method:
    """The method with the settings of the file, the adapter or the checkpoint."""
    return Method(name=args.method, settings=checkpoint.shirg, budgets=tuple(args.budgets or ()))


def _out(args: argparse.Namespace) -> Path:
    out = Path(args.out)
    if not args.out.strip():
        raise ValueError("--out is empty; give a directory")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {args.out} is a file; give a directory")
    return out


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
