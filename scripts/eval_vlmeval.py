"""Score the model on a benchmark of VLMEvalKit, by VLMEvalKit's own run.

    python -m scripts.eval_vlmeval --model-args budget=768 -- --data DocVQA_VAL --work-dir runs/vlmeval

What stands behind -- are VLMEvalKit's own options. It needs VLMEvalKit (pip install ms-vlmeval), and fetches its
data where they are missing. VLMEvalKit goes on after a failure and ends with exit code 0; this ends with 1 where a data
set has no result, and with 2 for a wrong option.
"""

import sys

from llava.eval.harness.settings import HarnessSettings
from llava.eval.vlmeval.launch import check_words, run_vlmeval
from llava.serve.parser import Parser


def build_parser() -> Parser:
    parser = Parser(prog="eval_vlmeval", description=__doc__)
    parser.add_argument(
        "--model-args",
        default="",
        metavar="NAME=VALUE,...",
        help="pretrained, revision, adapter, shirg, budget, tiles, mode, device, dtype, tokens, seed, decoding "
        "(default: the bundled model)",
    )
    parser.add_argument("--name", default="lavida", help="of the directory of results (default: lavida)")
    parser.add_argument("words", nargs="+", metavar="OPTION", help="VLMEvalKit's own, behind --; --data at least")
    return parser


def main(arguments: list[str] | None = None) -> int:
    try:
        args = build_parser().parse_args(arguments)
        settings = HarnessSettings.parse(args.model_args)
        check_words(settings, args.words)
    except (FileNotFoundError, ValueError) as error:
        print(f"eval_vlmeval: error: {error}", file=sys.stderr)
        return 2
    missing = run_vlmeval(settings, args.name, args.words)
    for data in missing:
        print(f"eval_vlmeval: error: VLMEvalKit has no result of {data}; its message stands above", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
