"""``lavida bench``: what every stage of an answer costs on this machine, beside the least that it can."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from llava.constants import ASSETS
from llava.files import write_json, write_text
from llava.image_io import load_image
from llava.inference.checkpoint import Checkpoint
from llava.inference.decoding import find_decoding
from llava.serve.display import note, print_json, stdout_console, working
from llava.serve.requests import COMPILING, checkpoint_of, no_progress_bar, optimizations_of

QUESTION = "What is the total on this invoice?"
PAGE = ASSETS / "pages" / "invoice.png"
FORWARDS = 3
"""Of the fast way at full size, where random weights are sure of nothing: what short answers take."""
STAGES = ("preprocess", "encode", "select", "project", "prefill", "step", "denoise", "answer")


def run(args: argparse.Namespace) -> None:
    """Measure, and print a table or JSON.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    image = load_image(PAGE if args.image is None else args.image)
    out = None if args.out is None else _checked_out(args.out)
    if args.full_size and args.adapter is not None:
        raise ValueError("--full-size has random weights, to which no adapter belongs; leave one of them out")
    checkpoint = checkpoint_of(args)

    with working("loading the model"):
        import torch

        from llava.model.builder import load_pretrained_model
        from llava.model.device import find_device
        from llava.provenance import provenance
        from llava.speed.bench import measure
        from llava.speed.floors import measure_peaks, peaks_of
        from llava.speed.workload import Workload, full_size_model
        from llava.tuning.adapter import load_adapter

        if args.threads is not None:
            torch.set_num_threads(args.threads)
        device = find_device(args.device)
        with no_progress_bar():
            tokenizer, model, _, _ = load_pretrained_model(
                checkpoint.model, device_map=device, torch_dtype=args.dtype, revision=checkpoint.revision
            )
        if args.full_size:
            dtype = torch.bfloat16 if args.dtype == "auto" else getattr(torch, args.dtype)
            model = full_size_model(device, dtype, args.full_size)
        elif checkpoint.adapter is not None:
            handle = load_adapter(model, checkpoint.adapter.directory, merge=True, tokenizer=tokenizer)
            if handle is not None:
                handle.remove()
        optimizations_of(args).apply(model)
    if args.compile:
        note(COMPILING)
    peaks = peaks_of(torch.cuda.get_device_name(device) if device.type == "cuda" else "")
    peaks = measure_peaks(device, model.dtype) if peaks is None else peaks
    ways = list(_ways(checkpoint, args, recorded=device.type == "cuda"))
    console = Console(stderr=True)
    progress = Progress(console=console, transient=True)
    with progress if console.is_interactive else nullcontext():
        task = progress.add_task("rounds", total=args.rounds + 1)
        rows = measure(
            model,
            ways,
            Workload.of_question(image, QUESTION, tokenizer, checkpoint.config.conversation),
            peaks,
            rounds=args.rounds,
            on_round=lambda _: progress.advance(task),
        )
    result = {
        "command": shlex.join(["lavida", *args.words]),
        "model": f"{args.full_size} of full size, random weights" if args.full_size else checkpoint.directory.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights": args.weights,
        "compiled": args.compile,
        "weights_gb": sum(each.numel() * each.element_size() for each in model.parameters()) / 1e9,
        "peaks": vars(peaks),
        "rounds": args.rounds,
        "ways": rows,
        **provenance(device),
    }
    if out is not None:
        write_json(result, out)
        write_text(markdown(result), out.with_suffix(".md"))
    if args.json:
        print_json(result)
    else:
        _show(result)


def _checked_out(name: str) -> Path:
    out = Path(name)
    if out.suffix != ".json":
        raise ValueError(f"--out writes JSON, and a table beside it, but {name} does not end in .json; rename it")
    if not out.parent.is_dir():
        raise ValueError(f"--out {name}: there is no directory {out.parent}; make it first")
    return out


def _ways(checkpoint: Checkpoint, args: argparse.Namespace, *, recorded: bool) -> Sequence[Any]:
    """LaViDa's own encoding and SHIRG-X at each budget: one position a step, half as many steps, and fast; with steps
    in one launch too, where they can be ``recorded``."""
    from llava.speed.bench import Way

    shirg = checkpoint.shirg.replace(mode="shirg_x", budget=checkpoint.shirg.budgets[0])
    if args.full_size:
        shirg = type(shirg)(similarity="projected", tiles=shirg.tiles)
    budgets = args.budgets or shirg.budgets
    tokens = {"max_new_tokens": args.tokens}
    every = find_decoding("one-per-step", **tokens, stop_at_end_of_turn=False)
    half = find_decoding("one-per-step", **tokens, stop_at_end_of_turn=False, steps=max(1, args.tokens // 2))
    fast = find_decoding("fast", **tokens)
    if args.full_size:
        fast = find_decoding("one-per-step", **tokens, stop_at_end_of_turn=False, steps=min(FORWARDS, args.tokens))
    ways = [
        Way(name=f"stock, {args.tokens} steps", shirg=None, decoding=every),
        Way(name=f"stock, {max(1, args.tokens // 2)} steps", shirg=None, decoding=half),
    ]
    for budget in budgets:
        chosen = shirg.replace(budget=budget)
        if budget == budgets[0]:
            ways += [
                Way(name=f"K = {budget}, {args.tokens} steps", shirg=chosen, decoding=every),
                Way(name=f"K = {budget}, {max(1, args.tokens // 2)} steps", shirg=chosen, decoding=half),
            ]
            if recorded:
                graph = replace(every, cuda_graph=True)
                ways.append(Way(name=f"K = {budget}, {args.tokens} steps, recorded", shirg=chosen, decoding=graph))
        ways.append(Way(name=f"K = {budget}, fast", shirg=chosen, decoding=fast))
    return ways


def _cells(row: Mapping[str, Any]) -> list[str]:
    """One way's times, with how many times the least they are."""
    cells = []
    for stage in STAGES:
        milliseconds, ratio = row["milliseconds"].get(stage), row["over_floor"].get(stage)
        if milliseconds is None:
            cells.append("")
        else:
            cells.append(f"{milliseconds:.2f}" + ("" if ratio is None else f" ({ratio:.1f})"))
    return cells


def _rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of the table."""
    ways = result["ways"]
    heads = ["ms (times the floor)", *(way["name"] for way in ways)]
    columns = [_cells(way) for way in ways]
    rows = [[stage, *(column[place] for column in columns)] for place, stage in enumerate(STAGES)]
    rows.append(["forwards", *(str(way["forwards"]) for way in ways)])
    rows.append(["image tokens", *(f"{way['visual_tokens']:,}" for way in ways)])
    for stage in ("encode", "select", "prefill", "step"):
        counts = [way["launches"].get(stage) for way in ways]
        rows.append([f"launches, {stage}", *("" if count is None else f"{count:.0f}" for count in counts)])
    if ways[0]["peak_gb"] is not None:
        rows.append(["peak memory, GB", *(f"{way['peak_gb']:.2f}" for way in ways)])
    for stage in ("denoise", "answer"):
        first = ways[0]["milliseconds"][stage]
        rows.append([f"{stage}, share of the first", *(f"{way['milliseconds'][stage] / first:.2f}" for way in ways)])
    return heads, rows


def markdown(result: Mapping[str, Any]) -> str:
    """The table, with what it was made by."""
    heads, rows = _rows(result)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"`{result['command']}`\n\n{table}\n{describe(result)}\n"


def describe(result: Mapping[str, Any]) -> str:
    """The device, and what its floors are taken from."""
    peaks = result["peaks"]
    source = "published" if peaks["published"] else "measured in the same run"
    return (
        f"{result['device']}, {result['threads']} threads, {result['dtype']}, weights {result['weights_gb']:.2f} GB; "
        f"peaks {peaks['flops_per_second'] / 1e12:.2f} TFLOP/s and {peaks['bytes_per_second'] / 1e9:.0f} GB/s, "
        f"{source}; "
        f"medians of {result['rounds']} rounds in which the ways take turns; commit {result['commit']}."
    )


def _show(result: Mapping[str, Any]) -> None:
    heads, rows = _rows(result)
    table = Table(title=f"one question about one page: {result['model']}")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row, end_section=row[0] == STAGES[-1])
    console = stdout_console()
    console.print(table)
    console.print(describe(result))
