"""The words of the command line: commands, options and examples. Nothing heavy is imported here."""

import argparse
from importlib.metadata import version

from llava.serve.parser import Parser, add_command, add_debug
from llava.serve.training_options import add_merge_adapter, add_train

DESCRIPTION = """\
Ask LaViDa about documents, charts and pictures.

LaViDa reads an image with SigLIP and fills in a masked answer with LLaDA.
SHIRG-X lets it see small print: of 2,304 sharp patches it keeps the 512 to
1,024 that matter for the question, beside a coarse view of the whole page."""

EXAMPLES = """\
examples:
  lavida ask invoice.png "What is the total due?"
  lavida fill invoice.png "Total: [8], date: [8]"
  lavida select invoice.png "What is the total due?" --heatmap kept.png
  lavida info jacklishufan/lavida-llada-v1.0-instruct
  lavida eval --benchmark docpage --out runs/docpage
  lavida demo
  lavida train train/shirg_x

`lavida COMMAND --help` shows a command's options."""

ASK_EXAMPLES = """\
examples:
  lavida ask invoice.png "What is the total due?"
  lavida ask report.pdf --page 3 "Which year is best?" "Which is worst?" --heatmap kept.png
  lavida ask chart.png "What is shown?" --tokens 64 --steps 16 --schedule shift
  lavida ask page.png "Who signed?" --model jacklishufan/lavida-llada-v1.0-instruct --dtype bfloat16 --json

The page is encoded once for all its questions. In a pipe, each answer is one
line; --json gives one object per question, whose encoding time is the page's.
Several heat maps are numbered: kept-1.png, kept-2.png."""

FILL_EXAMPLES = """\
examples:
  lavida fill invoice.png "Total: [8] EUR, date: [10]"
  lavida fill sign.jpg "Heron Lake: [mask] miles" --threshold 0.9

[n] is a gap of n tokens, [mask] one of 4. The model writes into the gaps and
leaves the rest as it is."""

SELECT_EXAMPLES = """\
examples:
  lavida select invoice.png "What is the total due?" --heatmap kept.png
  lavida select invoice.png "What is the total due?" --budget 512 --similarity attention --json

Nothing is answered: the page is encoded and its tokens are chosen. A score
term whose spread is far below the others' hardly changes the choice."""

INFO_EXAMPLES = """\
examples:
  lavida info
  lavida info checkpoints/my-lavida
  lavida info jacklishufan/lavida-llada-v1.0-instruct

Only the config and the headers of the weight files are read, of a hub repository too."""

EVAL_EXAMPLES = """\
examples:
  lavida eval --benchmark docpage
  lavida eval --benchmark docpage --budget 512 768 1024 --out runs/budgets
  lavida eval --benchmark docpage --method scaffold_random --out runs/random
  lavida eval --benchmark docvqa --data downloads/DocVQA --questions 1000 --out runs/docvqa
  lavida eval --compare runs/docpage-shirg_x runs/random
  lavida eval --benchmark docpage --out runs/parts --shard 2/8
  lavida eval --merge runs/parts

Writes records.jsonl, a line per question, summary.json, and what decided about
the answers and made them. A run that was killed goes on when it is started
again. Several budgets share one encoding of each page and write a directory
each. A peer of SHIRG-X gets as many tokens as it has with its scaffold."""

DEMO_EXAMPLES = """\
examples:
  lavida demo
  lavida demo --gallery documents --model DIR --out /tmp/demo

Writes a heat map for every question and demo/index.html, which shows them all."""


def build_parser() -> Parser:
    """The parser of ``lavida``; ``command`` is None when no command is given."""
    parser = Parser(prog="lavida", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"lavida {version('lavida-shirg')}")
    parser.set_defaults(command=None, debug=False, verbose=False, traceback=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    ask = add_command(commands, "ask", "answer questions about an image or a PDF page", ASK_EXAMPLES)
    _add_image(ask)
    ask.add_argument(
        "questions", metavar="QUESTION", nargs="+", help="what you want to know; several share one encoding"
    )
    ask.add_argument("--heatmap", metavar="OUT.png", help="draw which patches were kept for the question")
    _add_json(ask)
    _add_model(ask)
    _add_selection(ask, optional=True)
    ask.add_argument(
        "--no-stop", action="store_true", help="denoise all positions, also those behind the end of the answer"
    )
    _add_decoding(ask)

    fill = add_command(commands, "fill", "fill the gaps of a text with what an image shows", FILL_EXAMPLES)
    _add_image(fill)
    fill.add_argument("template", metavar="TEMPLATE", help="text with gaps: [8] of 8 tokens, [~8] of at most 8")
    _add_json(fill)
    _add_model(fill)
    _add_selection(fill, optional=True)
    _add_decoding(fill)

    select = add_command(commands, "select", "show which patches SHIRG-X keeps for a question", SELECT_EXAMPLES)
    _add_image(select)
    select.add_argument("question", metavar="QUESTION", help="what the patches are chosen for")
    select.add_argument("--heatmap", metavar="OUT.png", help="draw the choice over the page")
    select.add_argument(
        "--evidence",
        metavar="X0,Y0,X1,Y1",
        action="append",
        help="where the answer stands, from 0 to 1 of the page, to see what survives of it; known of bundled pages",
    )
    _add_json(select)
    _add_model(select)
    _add_selection(select, optional=False)

    info = add_command(commands, "info", "sizes, ids and token counts of a model, without loading it", INFO_EXAMPLES)
    info.add_argument("model", metavar="MODEL", nargs="?", help="directory or hub id; the bundled model if left out")
    info.add_argument("--revision", help="branch, tag or commit on the hub")
    _add_adapter(info)
    _add_json(info)
    _add_logging(info)

    evaluation = add_command(commands, "eval", "score a model on a benchmark, or compare results", EVAL_EXAMPLES)
    evaluation.set_defaults(module="evaluate")  # a module must not be named like a built-in function
    # Always the likeliest tokens, so that answers can be compared.
    evaluation.set_defaults(schedule=None, shift=None, temperature=0.0, remasking="low_confidence", no_cache=False)
    _add_evaluation(evaluation)
    _add_model(evaluation)

    demo = add_command(commands, "demo", "answer questions about the bundled pages", DEMO_EXAMPLES)
    demo.add_argument("--out", metavar="DIR", default="demo", help="where the pictures go (default: demo)")
    demo.add_argument(
        "--gallery",
        choices=("typed", "documents"),
        default="typed",
        help="which bundled pages: typed ones of the kind that the bundled model was trained on, or documents and "
        "charts for larger models (default: typed)",
    )
    demo.add_argument("--questions", metavar="N", type=int, default=4, help="at most so many per page (default: 4)")
    _add_way(demo)
    _add_model(demo)

    add_train(commands)
    add_merge_adapter(commands)
    return parser


def module_of(args: argparse.Namespace) -> str:
    """The module in ``llava.serve`` whose ``run`` does what was asked for."""
    if args.command == "eval" and (args.compare is not None or args.merge is not None):
        return "finished"
    return str(args.module)


def _add_image(parser: Parser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an image or PDF file")
    parser.add_argument(
        "--page", metavar="N", type=int, help="page of a PDF or TIFF, or frame, from 1 (default: the first)"
    )
    group = parser.add_argument_group("limits of a page", "Beyond them, the process that draws it is ended.")
    group.add_argument("--page-seconds", metavar="S", type=float, help="time for drawing it (default: 20)")
    group.add_argument("--page-megabytes", metavar="MIB", type=float, help="memory for drawing it (default: 1024)")


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line, and nothing else")


def _add_model(parser: Parser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint (default: the small bundled one)")
    group.add_argument("--revision", help="branch, tag or commit on the hub")
    _add_adapter(group)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: a GPU if there is one)")
    group.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="precision of the weights (default: the checkpoint's)",
    )
    _add_logging(group)


def _add_adapter(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--adapter", metavar="DIR", help="what training changed of the model, merged into its weights")


def _add_logging(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--verbose", action="store_true", help="say on stderr what is done and how long it takes")
    add_debug(parser)


def _add_selection(parser: Parser, *, optional: bool) -> None:
    group = parser.add_argument_group("token selection (SHIRG-X)")
    if optional:
        group.add_argument("--no-shirg", action="store_true", help="encode images as LaViDa does, without SHIRG-X")
    group.add_argument(
        "--config",
        metavar="YAML",
        help="settings, a file or the name of shipped ones: shirg_x_attention (default: the "
        "adapter's or the checkpoint's)",
    )
    _add_tiles(group)
    group.add_argument(
        "--budget",
        metavar="auto|question|K",
        type=_budget,
        help="detail tokens to keep: auto, which reads the page; question, which reads both; or 32 to 1024",
    )
    group.add_argument("--similarity", metavar="SOURCE", help="auto, projected, learned, attention or siglip")


def _add_evaluation(parser: Parser) -> None:
    parser.add_argument(
        "--compare", metavar="DIR", nargs="+", action="extend", help="a Markdown table of finished results, and no more"
    )
    parser.add_argument("--merge", metavar="DIR", help="put the finished shards inside DIR together there")
    asked = parser.add_argument_group("questions")
    asked.add_argument(
        "--benchmark",
        metavar="NAME",
        help="foreign, chartqa, docvqa, textvqa, infovqa or ocrbench; or of drawn pages: entitygrid, chartpage, "
        "docpage or captionpage",
    )
    asked.add_argument(
        "--data", metavar="DIR|HUB_ID", help="where the data set is (default: its name on the hub); not of drawn pages"
    )
    asked.add_argument(
        "--style",
        metavar="NAME",
        help="of drawn pages: shapes, large_print, typed, typed_full, full, print, print_small (default: what "
        "the model's config.json names as page_style)",
    )
    asked.add_argument(
        "--split",
        metavar="NAME",
        help="of drawn pages test, shifted, validation, or for documents and charts wild (default: test), of others "
        "the one with answers",
    )
    asked.add_argument(
        "--questions", metavar="N", type=int, help="how many (default: 500 about drawn pages, all of a data set)"
    )
    asked.add_argument("--shard", metavar="I/N", help="answer only the I-th of N parts, for several processes or days")
    asked.add_argument(
        "--out",
        metavar="DIR",
        help="where the results go, and where a killed run goes on (default: runs/BENCHMARK-METHOD)",
    )
    way = parser.add_argument_group("method")
    way.add_argument(
        "--method",
        metavar="NAME",
        default="shirg_x",
        help="shirg_x; stock, which is LaViDa's own encoding; or a peer: all_patches, scaffold_only, scaffold_random, "
        "uniform_stride, feature_norm, ink, attention, divprune, scope, mmr, tome, topv, mean_pooled, scaled_down "
        "(default: shirg_x)",
    )
    way.add_argument("--config", metavar="YAML", help="settings (default: the adapter's or the checkpoint's)")
    _add_tiles(way)
    way.add_argument(
        "--budget",
        dest="budgets",
        metavar="auto|question|K",
        nargs="+",
        action="extend",
        type=_budget,
        help="detail tokens to keep, one or several numbers",
    )
    way.add_argument("--seed", metavar="N", type=int, default=0, help="for peers that choose at random (default: 0)")
    group = parser.add_argument_group("denoising")
    _add_pace(group)
    group.add_argument(
        "--batch-size", metavar="N", type=int, default=16, help="questions denoised together (default: 16)"
    )


def _add_tiles(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--tiles",
        metavar="1|RxC|auto",
        help="views that a page is cut into: 1, rows x columns such as 3x2, or auto, as many as its pixels fill",
    )


def _budget(text: str) -> int | str:
    return text if text in ("auto", "question") else int(text)


_budget.__name__ = "budget"  # argparse names the type in its messages


def _add_decoding(parser: Parser) -> None:
    group = parser.add_argument_group("denoising")
    _add_pace(group)
    group.add_argument(
        "--schedule",
        metavar="NAME",
        help="how --steps share the tokens: shift, uniform, cosine or logit_normal (default: shift)",
    )
    group.add_argument("--shift", metavar="X", type=float, help="curvature of the shift schedule (default: 1/3)")
    group.add_argument("--temperature", metavar="T", type=float, default=0.0, help="0 always takes the likeliest token")
    group.add_argument(
        "--seed", metavar="N", type=int, default=0, help="for temperature and random remasking (default: 0)"
    )
    group.add_argument(
        "--remasking",
        metavar="RULE",
        default="low_confidence",
        help="which token is settled first: low_confidence, entropy, margin or random (default: low_confidence)",
    )
    group.add_argument(
        "--no-cache", action="store_true", help="recompute the prompt in every step: slower, as LaViDa was trained"
    )


def _add_way(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--decoding",
        choices=("fast", "exact", "one-per-step"),
        default="fast",
        help="fast settles all tokens surer than 0.95 at once; one-per-step is LaViDa's order; exact gives the same "
        "answer in fewer forwards (default: fast)",
    )


def _add_pace(group: argparse._ActionsContainer) -> None:
    _add_way(group)
    group.add_argument("--tokens", metavar="N", type=int, default=32, help="length of the answer (default: 32)")
    group.add_argument(
        "--steps", metavar="N", type=int, help="denoising steps of exact and one-per-step (default: one per token)"
    )
    group.add_argument("--threshold", metavar="P", type=float, help="how sure a token must be for fast (default: 0.95)")
    group.add_argument("--block-length", metavar="N", type=int, help="settle blocks of N tokens, left to right")
