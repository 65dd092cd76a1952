"""Write a checkpoint that needs no adapter: LoRA added into the weights, SHIRG-X's weights beside them.

    python -m scripts.merge_adapter runs/shirg_x/best --out merged
    python -m scripts.merge_adapter runs/shirg_x/best --model my/lavida --out merged --dtype bfloat16
    python -m scripts.merge_adapter --model runs/small/finish/final --out small --about "Reads typed pages."

Without an adapter it changes a checkpoint's precision only. The result is read by `lavida --model` and by
load_pretrained_model without peft.
"""

import sys
from pathlib import Path

import torch

from lavida_shirg_integration import apply_shirg_x
from llava.model.builder import load_pretrained_model
from llava.serve.options import Parser
from llava.tuning.adapter import load_adapter
from llava.tuning.settings import AdapterSettings
from scripts.entry import run

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def build_parser() -> Parser:
    parser = Parser(prog="merge_adapter", description=__doc__)
    parser.add_argument("adapter", nargs="?", type=Path, help="directory that training wrote: best or final")
    parser.add_argument("--model", help="checkpoint underneath; the one that the adapter names, when not given")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument(
        "--dtype", choices=list(DTYPES), default="bfloat16", help="of the weights that are written (default: bfloat16)"
    )
    parser.add_argument("--about", help="what users of the checkpoint should know; `lavida demo` shows it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    return run(
        build_parser(),
        lambda args: merge(args.adapter, args.model, args.out, args.dtype, about=args.about),
        arguments,
        also=(RuntimeError,),
    )


def merge(adapter: Path | None, model: str | None, out: Path, dtype: str, *, about: str | None = None) -> None:
    """Load, merge in float32, round once, and write; errors are those of loading."""
    if model is None:
        if adapter is None:
            raise ValueError("give an adapter, or --model with a checkpoint")
        model = AdapterSettings.read(adapter).base.name
    if Path(model).resolve() == out.resolve():
        raise ValueError(f"--out {out} is the checkpoint itself; choose another directory")
    if out.is_file():
        raise ValueError(f"--out {out} is a file; give a directory")
    tokenizer, loaded, _, _ = load_pretrained_model(model, device_map="cpu", torch_dtype="float32")
    if adapter is not None:
        load_adapter(loaded, adapter, merge=True, tokenizer=tokenizer)
    elif loaded.config.shirg_x:
        apply_shirg_x(loaded, tokenizer=tokenizer)
    if about is not None:
        loaded.config.about = about
    loaded.to(DTYPES[dtype]).save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(out)


if __name__ == "__main__":
    sys.exit(main())
