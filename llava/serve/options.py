"""The words of the command line: commands, options and examples. Nothing heavy is imported here."""

import argparse
from importlib.metadata import version

from llava.serve.option_groups import (
    add_adapter,
    add_bench,
    add_decoding,
    add_evaluation,
    add_image,
    add_json,
    add_logging,
    add_model,
    add_selection,
    add_way,
)
from llava.serve.parser import Parser, add_command, in_place_of
from llava.serve.server_options import add_serve
from llava.serve.training_options import add_data, add_merge_adapter, add_train

DESCRIPTION = """\
Ask LaViDa about documents, charts and pictures.

LaViDa reads an image with SigLIP and fills in a masked answer with LLaDA.
SHIRG-X lets it see small print: of 2,304 sharp patches it keeps the 512 to
1,024 that matter for the question, beside a coarse view of the whole page."""

EXAMPLES = """\
examples:
  lavida ask invoice.png "What is the total due?"
  lavida chat report.pdf --page 3
  lavida fill invoice.png "Total: [8], date: [8]"
  lavida select invoice.png "What is the total due?" --heatmap kept.png
  lavida info jacklishufan/lavida-llada-v1.0-instruct
  lavida eval --benchmark docpage --out runs/docpage
  lavida bench
  lavida demo
  lavida serve
  lavida train train/shirg_x

`lavida COMMAND --help` shows a command's options."""

ASK_EXAMPLES = """\
examples:
  lavida ask invoice.png "What is the total due?"
  lavida ask report.pdf --page 3 "Which year is best?" "Which is worst?" --heatmap kept.png
  lavida ask chart.png "What is shown?" --tokens 64 --steps 16 --schedule shift
  lavida ask invoice.png "What is the total due?" --boxes where.png --film answer.gif
  lavida ask scans/*.png --questions questions.txt --json > answers.jsonl
  lavida ask page.png "Who signed?" --model jacklishufan/lavida-llada-v1.0-instruct --dtype bfloat16 --json

The page is encoded once for all its questions. In a pipe, each answer is one
line; --json gives one object per question, whose encoding time is the page's.
With --questions, every line is page, question and answer with tabs between
them; a page that cannot be read is told, and the others are answered.
Several pictures or films are numbered: kept-1.png, kept-2.png."""

CHAT_EXAMPLES = """\
examples:
  lavida chat invoice.png
  lavida chat report.pdf --page 3 --budget 768

The model and the page stay, so that a further answer takes a moment. :help
lists what else can be typed: another page, another file, the heat map of the
last answer. Ctrl-C stops an answer, Ctrl-D leaves."""

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

BENCH_EXAMPLES = """\
examples:
  lavida bench
  lavida bench --rounds 9 --json --out bench.json
  lavida bench --full-size --device cuda

Ways to answer take turns in one run: LaViDa's own encoding and SHIRG-X at each
budget, denoised one position a step, in half as many steps, and fast. Each
stage stands beside the least that it can take on this device. Ratios are the
result; times belong to the machine they were taken on."""

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
    add_image(ask)
    further = ask.add_argument(
        "questions",
        metavar="QUESTION",
        nargs="+",
        default=[],
        help="what you want to know; several share one encoding. With --questions, further pages instead",
    )
    ask.add_argument(
        "--questions",
        dest="question_file",
        metavar="FILE",
        action=in_place_of(further),
        help="ask every question of a text file, one on each line, about every page",
    )
    ask.add_argument("--heatmap", metavar="OUT.png", help="draw which patches were kept for the question")
    ask.add_argument(
        "--boxes",
        metavar="OUT.png",
        help="mark the most relevant kept patches, and frame the answer and what the question names where it is known",
    )
    ask.add_argument(
        "--evidence",
        metavar="X0,Y0,X1,Y1",
        action="append",
        help="for --boxes: where the answer stands, from 0 to 1 of the page; known of bundled pages",
    )
    ask.add_argument("--film", metavar="OUT.gif", help="show how the answer came about, step by step: GIF or WebP")
    add_json(ask)
    add_model(ask)
    add_selection(ask, optional=True)
    ask.add_argument(
        "--no-stop", action="store_true", help="denoise all positions, also those behind the end of the answer"
    )
    add_decoding(ask)

    chat = add_command(commands, "chat", "ask about a page, one question after the other", CHAT_EXAMPLES)
    add_image(chat)
    add_model(chat)
    add_selection(chat, optional=True)
    add_decoding(chat)

    fill = add_command(commands, "fill", "fill the gaps of a text with what an image shows", FILL_EXAMPLES)
    add_image(fill)
    fill.add_argument("template", metavar="TEMPLATE", help="text with gaps: [8] of 8 tokens, [~8] of at most 8")
    add_json(fill)
    add_model(fill)
    add_selection(fill, optional=True)
    add_decoding(fill)

    select = add_command(commands, "select", "show which patches SHIRG-X keeps for a question", SELECT_EXAMPLES)
    add_image(select)
    select.add_argument("question", metavar="QUESTION", help="what the patches are chosen for")
    select.add_argument("--heatmap", metavar="OUT.png", help="draw the choice over the page")
    select.add_argument(
        "--evidence",
        metavar="X0,Y0,X1,Y1",
        action="append",
        help="where the answer stands, from 0 to 1 of the page, to see what survives of it; known of bundled pages, "
        "where what the question names counts too",
    )
    add_json(select)
    add_model(select)
    add_selection(select, optional=False)

    info = add_command(commands, "info", "sizes, ids and token counts of a model, without loading it", INFO_EXAMPLES)
    info.add_argument("model", metavar="MODEL", nargs="?", help="directory or hub id; the bundled model if left out")
    info.add_argument("--revision", help="branch, tag or commit on the hub")
    add_adapter(info)
    add_json(info)
    add_logging(info)

    evaluation = add_command(commands, "eval", "score a model on a benchmark, or compare results", EVAL_EXAMPLES)
    evaluation.set_defaults(module="evaluate")  # a module must not be named like a built-in function
    # Always the likeliest tokens, so that answers can be compared.
    evaluation.set_defaults(schedule=None, shift=None, temperature=0.0, remasking="low_confidence", no_cache=False)
    add_evaluation(evaluation)
    add_model(evaluation)

    bench = add_command(commands, "bench", "time every stage of an answer on this machine", BENCH_EXAMPLES)
    add_bench(bench)
    add_json(bench)
    add_model(bench)

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
    add_way(demo)
    add_model(demo)

    add_serve(commands)
    add_train(commands)
    add_data(commands)
    add_merge_adapter(commands)
    return parser


def module_of(args: argparse.Namespace) -> str:
    """The module in ``llava.serve`` whose ``run`` does what was asked for."""
    if args.command == "eval" and (args.compare is not None or args.merge is not None):
        return "finished"
    return str(args.module)
