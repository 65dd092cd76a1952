"""``lavida eval``: how well a model answers a benchmark's questions."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from llava.eval.asked import Asked
from llava.eval.benchmarks.benchmark import Benchmark
from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.methods import Method
from llava.eval.shards import Shard
from llava.eval.summary import write_summary
from llava.inference.checkpoint import Checkpoint
from llava.serve.display import note
from llava.serve.requests import checkpoint_of, decoding_of, load_session
from llava.serve.scores import show_scores

MAX_TOLD = 5
"""Questions that could not be asked, of which people are told one by one."""


def run(args: argparse.Namespace) -> None:
    """Answer what is not answered yet, and print a table.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    out = _checked_out(args)
    benchmark = find_benchmark(args.benchmark)
    shard = None if args.shard is None else Shard.parse(args.shard)
    decoding = decoding_of(args, stop=True)
    checkpoint = checkpoint_of(args)
    method = Method(name=args.method, settings=checkpoint.shirg, budgets=tuple(args.budgets or ()))
    # Last of all checks, because a data set may have to be downloaded for it.
    asked = Asked(
        benchmark=benchmark,
        split=benchmark.splits[0] if args.split is None else args.split,
        style=_trained_style(benchmark, checkpoint) if args.style is None else args.style,
        questions=benchmark.questions if args.questions is None else args.questions,
        data=args.data,
        shard=shard,
    )
    if args.out is None:
        note(f"the results go to {out}; --out DIR puts them elsewhere")
    session = load_session(args, checkpoint.encoding(method.patch_settings))

    from llava.eval.encoder import PageEncoder
    from llava.eval.evaluate import evaluate, open_runs, source_of

    encoder = PageEncoder(session=session, method=method, seed=args.seed)
    runs = open_runs(
        asked,
        encoder,
        decoding,
        source_of(session, checkpoint),
        {budget: out / name / asked.directory for budget, name in method.directories.items()},
        batch_size=args.batch_size,
    )
    console = Console(stderr=True)
    columns = (TextColumn("questions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True)
    with progress if console.is_interactive else nullcontext():
        task = progress.add_task("questions", total=asked.count)
        evaluate(
            asked,
            encoder,
            runs,
            batch_size=args.batch_size,
            stop_on_broken=args.stop_on_broken,
            on_batch=lambda done: progress.update(task, completed=done),
        )
    summaries = [write_summary(run.results, benchmark.corpus_metrics) for run in runs]
    show_scores(summaries, out)
    broken = {name: fault for summary in summaries for name, fault in summary["broken"].items()}
    for name, fault in list(broken.items())[:MAX_TOLD]:
        note(f"question {name} was not asked: {fault}")
    if broken:
        note(f"{len(broken)} of {asked.count} questions could not be asked, and no score counts them")


def _checked_out(args: argparse.Namespace) -> Path:
    """Where the results go, once nothing that can be seen in the words themselves is wrong."""
    if args.benchmark is None:
        raise ValueError("--benchmark is missing; give it, or --compare with finished results")
    for name in ("questions", "batch_size"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    for name in ("config", "tiles"):
        if args.method == "stock" and getattr(args, name) is not None:
            raise ValueError(f"--{name} belongs to SHIRG-X, which --method stock does without; leave one of them out")
    if args.out is not None and not args.out.strip():
        raise ValueError("--out is empty; give a directory")
    out = Path("runs", f"{args.benchmark}-{args.method}") if args.out is None else Path(args.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a directory")
    return out


def _trained_style(benchmark: Benchmark, checkpoint: Checkpoint) -> str | None:
    """The style that the checkpoint was trained on: in others, most models read nothing."""
    if not benchmark.styles:
        return None
    if checkpoint.page_style is None:
        raise ValueError(
            f"{checkpoint.model} does not say which style of drawn pages it was trained on (page_style in its "
            f"config.json); choose one with --style: {', '.join(benchmark.styles)}"
        )
    return checkpoint.page_style
