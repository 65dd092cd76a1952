"""Time every stage of an answer, print a table, and write it as JSON.

python -m scripts.benchmark                                   # the bundled checkpoint
python -m scripts.benchmark --model DIR --device cuda --dtype bfloat16
python -m scripts.benchmark --full-size --device cuda         # LaViDa-8B's sizes, random weights
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llava.constants import ASSETS
from llava.image_io import load_image
from llava.serve.parser import Parser, positive
from scripts.entry import check_file, run
from shirg.config import ShirgXConfig
from shirg.tiling import parse_tiles

DTYPES = ("float32", "bfloat16", "float16")
QUESTION = "What is the total on this invoice?"


def build_parser() -> Parser:
    parser = Parser(prog="benchmark", description=__doc__)
    parser.add_argument("--model", type=Path, default=ASSETS / "lavida-small", help="checkpoint directory")
    parser.add_argument("--full-size", action="store_true", help="LaViDa-8B's sizes with random weights, on a GPU")
    parser.add_argument(
        "--image", type=Path, default=ASSETS / "pages" / "invoice.png", help="page to ask about (default: an invoice)"
    )
    parser.add_argument("--tiles", metavar="1|RxC|auto", help="views of the page (default: the checkpoint's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--dtype", choices=DTYPES, help="the checkpoint's when not given; bfloat16 with --full-size")
    parser.add_argument("--tokens", type=positive, default=32, help="answer positions (default: 32)")
    parser.add_argument("--steps", type=positive, default=32, help="denoising steps (default: 32)")
    parser.add_argument("--repeats", type=positive, default=5, help="timed runs behind each median (default: 5)")
    parser.add_argument("--threads", type=positive, help="CPU threads; all cores when not given")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark.json"), help="JSON file to write (default: benchmark.json)"
    )
    return parser


def stage_table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="one page, one question, batch 1; medians in milliseconds")
    table.add_column("stage")
    for name in rows:
        table.add_column(name, justify="right")
    for stage in next(iter(rows.values()))["milliseconds"]:
        table.add_row(stage, *(f"{row['milliseconds'][stage]:.2f}" for row in rows.values()))
    table.add_section()
    table.add_row("selection / encode", *(f"{row['selection_of_encode']:.3f}" for row in rows.values()))
    table.add_row("prefix tokens", *(str(row["prefix_tokens"]) for row in rows.values()))
    if next(iter(rows.values()))["peak_gb"] is not None:
        table.add_row("peak memory, GB", *(f"{row['peak_gb']:.2f}" for row in rows.values()))
    if floors := next(iter(rows.values()))["over_floor"]:
        for stage in floors:
            table.add_row(f"{stage} / floor", *(f"{row['over_floor'][stage]:.2f}" for row in rows.values()))
    return table


def benchmark(args: argparse.Namespace) -> None:
    check_file(args.out)
    if args.tiles is not None:
        parse_tiles(args.tiles)
    image = load_image(args.image)

    import torch

    from llava.model.builder import load_pretrained_model
    from llava.provenance import provenance
    from llava.speed.latency import Workload, compare_decoding, full_size_model, measure_stages

    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer, model, _, _ = load_pretrained_model(args.model, device_map=args.device, torch_dtype=args.dtype)
    work = Workload.of_question(
        image, QUESTION, tokenizer, num_answer=args.tokens, steps=args.steps, repeats=args.repeats
    )
    if args.full_size:
        model = full_size_model(model.device, getattr(torch, args.dtype or "bfloat16"))
    saved = {} if args.full_size else model.config.shirg_x or {}
    tiles = {} if args.tiles is None else {"tiles": args.tiles}
    config = ShirgXConfig.from_dict({**saved, **tiles, "similarity": "projected"})
    rows = {str(budget): measure_stages(model, config.replace(budget=budget), work) for budget in config.budgets}
    console = Console(file=sys.stderr)
    console.print(stage_table({f"K = {name}": row for name, row in rows.items()}))
    comparison = compare_decoding(model, work, prefix_tokens=rows[str(config.budgets[-1])]["prefix_tokens"])
    ratios = {name: f"{ratio:.2f}x as long" for name, ratio in comparison["speedup"].items()}
    captured = f"as one launch a step {ratios['captured']}; " if "captured" in ratios else ""
    console.print(
        f"decoding {comparison['milliseconds']['cached']:.0f} ms; {captured}straightforward: "
        f"{ratios['rotated_again']} with LaViDa's cache, {ratios['recomputed']} without any; "
        f"equal tokens {min(comparison['equal_tokens'].values()):.0%}"
    )
    result = {
        "model": "full size, random weights" if args.full_size else str(args.model),
        "dtype": str(model.dtype),
        "answer": {"tokens": args.tokens, "steps": args.steps},
        "config": config.to_dict(),
        "stages": rows,
        "decoding": comparison,
        **provenance(model.device),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def main(arguments: list[str] | None = None) -> int:
    return run(build_parser(), benchmark, arguments)


if __name__ == "__main__":
    sys.exit(main())
