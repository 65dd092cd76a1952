"""Groups of options that commands of ``lavida`` share, and the long ones of single commands."""

import argparse

from llava.model.language_model.registry import BACKBONES
from llava.serve.parser import Parser, add_debug, positive


def add_image(parser: Parser) -> None:
    """The page that a command reads."""
    parser.add_argument("image", metavar="IMAGE", help="an image or PDF file")
    parser.add_argument(
        "--page", metavar="N", type=int, help="page of a PDF or TIFF, or frame, from 1 (default: the first)"
    )
    group = parser.add_argument_group("limits of a page", "Beyond them, the process that draws it is ended.")
    group.add_argument("--page-seconds", metavar="S", type=float, help="time for drawing it (default: 20)")
    group.add_argument("--page-megabytes", metavar="MIB", type=float, help="memory for drawing it (default: 1024)")


def add_json(parser: Parser) -> None:
    """JSON instead of words for people."""
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line, and nothing else")


def add_model(parser: Parser) -> None:
    """Which model, and where it runs."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="DIR|HUB_ID", help="checkpoint (default: the small bundled one)")
    group.add_argument("--revision", help="branch, tag or commit on the hub")
    add_adapter(group)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: a GPU if there is one)")
    group.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="precision of the weights (default: the checkpoint's)",
    )
    group.add_argument(
        "--weights",
        default="loaded",
        choices=("loaded", "int8"),
        help="int8 rounds the language model's to one byte: less memory, and some answers differ (default: as loaded)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="compile the model's layers, which makes the first answer slow and later ones faster",
    )
    add_logging(group)


def add_adapter(parser: argparse._ActionsContainer) -> None:
    """An adapter of the model."""
    parser.add_argument("--adapter", metavar="DIR", help="what training changed of the model, merged into its weights")


def add_logging(parser: argparse._ActionsContainer) -> None:
    """How much is told of what happens."""
    parser.add_argument("--verbose", action="store_true", help="say on stderr what is done and how long it takes")
    add_debug(parser)


def add_selection(parser: Parser, *, optional: bool) -> None:
    """How tokens are chosen."""
    group = parser.add_argument_group("token selection (SHIRG-X)")
    if optional:
        group.add_argument("--no-shirg", action="store_true", help="encode images as LaViDa does, without SHIRG-X")
    group.add_argument(
        "--config",
        metavar="YAML",
        help="settings, a file or the name of shipped ones: shirg_x_attention (default: the "
        "adapter's or the checkpoint's)",
    )
    add_tiles(group)
    group.add_argument(
        "--budget",
        metavar="auto|question|K",
        type=_budget,
        help="detail tokens to keep: auto, which reads the page; question, which reads both; or 32 to 1024",
    )
    group.add_argument("--similarity", metavar="SOURCE", help="auto, projected, learned, matched, attention or siglip")


def add_evaluation(parser: Parser) -> None:
    """Everything that ``lavida eval`` takes beside its model."""
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
    add_tiles(way)
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
    add_pace(group)
    group.add_argument(
        "--batch-size", metavar="N", type=int, default=16, help="questions denoised together (default: 16)"
    )
    group.add_argument(
        "--stop-on-broken",
        action="store_true",
        help="end at a question that cannot be asked (a damaged image, a text that is too long) instead of counting it",
    )


def add_tiles(group: argparse._ActionsContainer) -> None:
    """How a page is cut into views."""
    group.add_argument(
        "--tiles",
        metavar="1|RxC|auto",
        help="views that a page is cut into: 1, rows x columns such as 3x2, or auto, as many as its pixels fill",
    )


def _budget(text: str) -> int | str:
    return text if text in ("auto", "question") else int(text)


_budget.__name__ = "budget"  # argparse names the type in its messages


def add_decoding(parser: Parser) -> None:
    """How an answer is denoised."""
    group = parser.add_argument_group("denoising")
    add_pace(group)
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


def add_way(group: argparse._ActionsContainer) -> None:
    """The way of denoising, by its name."""
    group.add_argument(
        "--decoding",
        choices=("fast", "exact", "one-per-step"),
        default="fast",
        help="fast settles all tokens surer than 0.95 at once; one-per-step is LaViDa's order; exact gives the same "
        "answer in fewer forwards (default: fast)",
    )


def add_pace(group: argparse._ActionsContainer) -> None:
    """How many positions are settled at once."""
    add_way(group)
    group.add_argument("--tokens", metavar="N", type=int, default=32, help="length of the answer (default: 32)")
    group.add_argument(
        "--steps", metavar="N", type=int, help="denoising steps of exact and one-per-step (default: one per token)"
    )
    group.add_argument("--threshold", metavar="P", type=float, help="how sure a token must be for fast (default: 0.95)")
    group.add_argument("--block-length", metavar="N", type=int, help="settle blocks of N tokens, left to right")


def add_full_size(group: argparse._ArgumentGroup, what: str) -> None:
    """The sizes of a released model, which need no checkpoint."""
    group.add_argument(
        "--full-size",
        nargs="?",
        const=next(iter(BACKBONES)),
        choices=list(BACKBONES),
        help=f"{what}: LaViDa-8B's around LLaDA, or the one named",
    )


def add_bench(parser: Parser) -> None:
    """What ``lavida bench`` times."""
    group = parser.add_argument_group("what is timed")
    group.add_argument("--image", metavar="FILE", help="the page asked about (default: a bundled invoice)")
    add_full_size(group, "a released model's sizes with random weights, for a GPU")
    group.add_argument(
        "--budget", dest="budgets", metavar="K", nargs="+", type=positive, help="detail tokens (default: all on offer)"
    )
    add_tiles(group)
    group.add_argument("--tokens", metavar="N", type=positive, default=32, help="answer positions (default: 32)")
    group.add_argument("--rounds", metavar="N", type=positive, default=5, help="behind each median (default: 5)")
    group.add_argument("--threads", metavar="N", type=positive, help="CPU threads (default: torch's own choice)")
    group.add_argument("--out", metavar="FILE", help="write all numbers as JSON, and a table beside them")
