"""The bundled model from nothing: all stages of configs/small, one after the other.

    python -m scripts.train_small                    # two cores; goes on where it was interrupted
    python -m scripts.train_small --gpu              # one GPU and sixteen cores: larger steps, fewer of them
    python -m scripts.train_small --stages 3_answer 4_full

Each stage ends in its ``final``, which the next one starts from; a stage that has one is done. Faces of type are those
that are installed, and PDF files those in runs/pdfs (scripts/assets/install_print.sh).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llava.serve.cli import main as lavida
from llava.serve.parser import Parser, positive, read_changes
from scripts.assets.make_small_checkpoint import main as make_checkpoint
from scripts.entry import run
from scripts.store_pages import main as store_pages

STAGES = ("1_read", "2_pages", "3_answer", "4_full")
SIZES = ("vision_heads=6", "vision_layers=7", "gathers=true", "answer_places=64", "heads=4", "vocabulary=2048")
STORED_PAGES = 12_000
_GPU: Mapping[str, Any] = {"trainer.use_cpu": False, "trainer.bf16": True, "trainer.dataloader_num_workers": 15}
ON_GPU: Mapping[str, Mapping[str, Any]] = {
    "1_read": {
        **_GPU,
        "crops.crops": 240_000,
        "trainer.per_device_train_batch_size": 128,
        "trainer.lr_scheduler_type": "cosine",
        "probe_every": 625,
    },
    "2_pages": {**_GPU, "trainer.per_device_train_batch_size": 32, "trainer.max_steps": 500},
    "3_answer": {
        **_GPU,
        "pages.stored": None,
        "trainer.per_device_train_batch_size": 32,
        "trainer.max_steps": 700,
        "trainer.eval_steps": 700,
    },
    "4_full": {
        **_GPU,
        "trainer.per_device_train_batch_size": 16,
        "trainer.gradient_accumulation_steps": 1,
        "trainer.max_steps": 400,
        "trainer.eval_steps": 400,
    },
}
"""What a GPU changes: there, drawing is what takes time, so steps are as large as sixteen cores can feed."""


def build_parser() -> Parser:
    parser = Parser(prog="train_small", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="larger steps, fewer of them, on a GPU")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="only these (default: all)")
    parser.add_argument("--stored", type=positive, default=STORED_PAGES, metavar="N", help="pages that are seen once")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="NAME=VALUE", help="of the fresh checkpoint")
    parser.add_argument("--texts", type=positive, default=300, metavar="N", help="pages to learn words from (300)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="STAGE:NAME=VALUE", help="change settings of a stage"
    )
    return parser


def train(args: argparse.Namespace) -> None:
    from llava.shipped import find_settings
    from shirg.settings import read_settings

    asked = _read_stages(args.set)
    for stage in [name for name in STAGES if name in args.stages]:
        settings = read_settings(find_settings(f"small/{stage}"))
        changes = {**(ON_GPU[stage] if args.gpu else {}), **asked.get(stage, {})}
        if (Path(settings["out"]) / "final" / "config.json").is_file():
            continue
        if not Path(settings["model"]).exists() and stage == STAGES[0]:
            words = [settings["model"], "--pages", str(args.texts), "--set", *args.sizes]
            _check(make_checkpoint(words), "make_small_checkpoint")
        if changes.get("pages.stored", settings.get("pages", {}).get("stored")):
            _check(store_pages([str(find_settings(f"small/{stage}")), "--pages", str(args.stored)]), "store_pages")
        words = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
        command = ["train", f"small/{stage}", "--resume", *(["--set", *words] if words else [])]
        _check(lavida(command), f"lavida {' '.join(command)}")


def _read_stages(changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Changes by stage."""
    found: dict[str, dict[str, Any]] = {}
    for change in changes:
        stage, separator, setting = change.partition(":")
        if not separator or stage not in STAGES:
            raise ValueError(f"--set wants STAGE:NAME=VALUE with a stage of {', '.join(STAGES)}, got {change!r}")
        found.setdefault(stage, {}).update(read_changes([setting]))
    return found


def _check(code: int, what: str) -> None:
    if code:
        raise ValueError(f"{what} ended with code {code}; its message is above")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; gives the exit code."""
    return run(build_parser(), train, arguments)


if __name__ == "__main__":
    sys.exit(main())
