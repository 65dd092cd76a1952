"""The words of the commands that make models: ``train`` and ``merge-adapter``."""

from pathlib import Path
from typing import Any

from llava.serve.option_groups import add_full_size
from llava.serve.parser import add_command, positive

TRAIN_EXAMPLES = """\
examples:
  lavida train train/shirg_x
  lavida train my_run.yaml --out runs/mine --set trainable.rank=16 trainer.max_steps=100
  lavida train train/shirg_x --dry-run --full-size --samples 100000
  lavida train my_run.yaml --resume

SETTINGS is a YAML file, or the name of shipped settings. A file with a section
`crops` teaches a vision tower to read; any other trains a whole model or an
adapter. On several GPUs:

  torchrun --nproc-per-node 8 -m llava.train train/shirg_x
  python -m llava.train.launch --nproc-per-node 8 -m llava.train train/shirg_x

The second passes the run's exit code on: 0 done, 1 ended early, 2 wrong
settings or data, 75 told to end (SIGTERM) and saved: --resume goes on.

The last line of the output is the directory of the result."""

DATA_EXAMPLES = """\
examples:
  lavida data my_run.yaml
  lavida data train/shirg_x --sheet /tmp/data --set mixture=data.json images=images

Counts the records of every source, looks for their images and measures their
texts, without loading the model, and writes some samples with their pictures
to index.html. Data that `lavida train` would refuse end with exit code 2."""

MERGE_EXAMPLES = """\
examples:
  lavida merge-adapter runs/shirg_x/best --out merged
  lavida merge-adapter runs/shirg_x/best --model my/lavida --out merged --dtype bfloat16
  lavida merge-adapter --model runs/small/final --out small --about "Reads typed pages."

Without an adapter only a checkpoint's precision changes. The result needs no
adapter and no peft: lavida ask page.png "What is the total?" --model merged"""

DTYPES = ("bfloat16", "float32")


def add_train(commands: Any) -> None:
    """``lavida train``; it tells what it does, and where an unexpected error came from, without being asked."""
    parser = add_command(commands, "train", "train a model, an adapter or a vision tower", TRAIN_EXAMPLES)
    parser.set_defaults(verbose=True, traceback=True)
    parser.add_argument("settings", metavar="SETTINGS", help="a YAML file, or a name such as train/shirg_x")
    parser.add_argument("--out", metavar="DIR", help="directory of the run, instead of the settings'")
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint to start from, instead of the settings'")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last whole checkpoint")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change single settings"
    )
    parser.add_argument("--debug", action="store_true", help="log in more detail")
    dry = parser.add_argument_group("dry run")
    dry.add_argument("--dry-run", action="store_true", help="print parameters, memory and time, and train nothing")
    add_full_size(dry, "plan for a released model's sizes, without its checkpoint")
    dry.add_argument("--gpus", metavar="N", type=positive, default=8, help="GPUs to plan for (default: 8)")
    dry.add_argument(
        "--samples", metavar="N", type=positive, help="records of the data, where they are not at hand to be counted"
    )
    dry.add_argument("--samples-per-second", metavar="X", type=float, help="measured throughput of all GPUs together")


def add_data(commands: Any) -> None:
    """``lavida data``."""
    parser = add_command(commands, "data", "show what a run would train on", DATA_EXAMPLES)
    parser.add_argument("settings", metavar="SETTINGS", help="a YAML file, or a name such as train/shirg_x")
    parser.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint to start from, instead of the settings'")
    parser.add_argument("--out", metavar="DIR", help="directory of the run, instead of the settings'")
    parser.add_argument("--sheet", metavar="DIR", type=Path, help="where the examples go (default: OUT/data)")
    parser.add_argument("--examples", metavar="N", type=positive, default=10, help="samples to show (default: 10)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="change single settings"
    )
    parser.add_argument("--debug", action="store_true", help="log in detail, and tracebacks of unexpected errors")


def add_merge_adapter(commands: Any) -> None:
    """``lavida merge-adapter``."""
    parser = add_command(commands, "merge-adapter", "write a checkpoint that needs no adapter", MERGE_EXAMPLES)
    parser.add_argument(
        "adapter", metavar="ADAPTER", nargs="?", type=Path, help="directory that training wrote: best or final"
    )
    parser.add_argument(
        "--model", metavar="DIR|HUB_ID", help="checkpoint underneath; the one that the adapter names, when not given"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="directory to write")
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="of the weights that are written (default: bfloat16)"
    )
    parser.add_argument("--about", help="what users of the checkpoint should know; `lavida demo` shows it")
    parser.add_argument(
        "--page-style", metavar="NAME", help="style of drawn pages that it was trained on; `lavida eval` draws it"
    )
    parser.add_argument("--debug", action="store_true", help="log in detail, and tracebacks of unexpected errors")
