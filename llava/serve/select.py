"""``lavida select``: which patches of a page survive for a question, without answering it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from llava.inference.heatmap import draw_heatmap
from llava.inference.words import check_question, one_line
from llava.serve.display import print_json, stdout_console
from llava.serve.files import check_picture, write_picture
from llava.serve.requests import checkpoint_of, encode_page, load_session, open_page, source_of
from llava.serve.truth import find_truth
from shirg.config import ShirgXConfig

if TYPE_CHECKING:
    from llava.inference.answer import EncodedImage, VisualPrefix
    from llava.pages import Box


def run(args: argparse.Namespace) -> None:
    """Print the counts behind a selection, and draw it.

    Raises:
        FileNotFoundError, ValueError: for bad input, in one sentence.
    """
    question = check_question(args.question)
    heatmap = check_picture(args.heatmap, args.image) if args.heatmap is not None else None
    checkpoint = checkpoint_of(args)
    picture = open_page(args, checkpoint)
    if checkpoint.shirg.mode == "stock":
        raise ValueError("the settings say mode: stock, which selects nothing; use mode: shirg_x")
    known = find_truth(args.image, args.page, question, picture.image, args.evidence)
    session = load_session(args, checkpoint)
    session.check_question(question, 0)
    page = encode_page(session, picture)
    prefix = session.select(page, question)
    assert session.handle is not None
    counts = describe(page, prefix, session.handle.config, (*known.answer, *known.evidence))
    if heatmap is not None:
        write_picture(draw_heatmap(page.image, prefix, session.handle.config, question=question), heatmap)
    if args.json:
        told = {"blank": page.blank, "notes": list(page.notes)}
        print_json({"question": question, **source_of(args), **counts, **told, "heatmap": args.heatmap})
    else:
        stdout_console().print(_table(question, counts, args.heatmap))


def describe(
    page: EncodedImage, prefix: VisualPrefix, config: ShirgXConfig, evidence: tuple[Box, ...] = ()
) -> dict[str, Any]:
    """Counts of one selection, what survives of the evidence if that is known, the share of kept tokens that show
    nothing, and the standard deviation of each weighted score term over the candidates."""
    from shirg.counts import count_patches
    from shirg.ink import blank_share
    from shirg.scoring import term_spread

    assert page.encoded is not None
    assert prefix.shirg is not None
    selection = prefix.shirg.selection
    counts = count_patches(selection, candidates=page.encoded.candidate_counts[0])
    spread = term_spread(selection.scores, page.encoded.dual.candidates, config)
    blank = blank_share(page.encoded.dual, prefix.shirg.tokens)
    assert blank is not None
    for_questions = config.budget not in ("auto", *config.budgets)
    return {
        "candidates": counts.candidates,
        "anchors": counts.anchors,
        "kept": counts.tokens,
        "merged": counts.merged,
        "dropped": counts.dropped,
        "kept_patches": counts.kept_patches,
        "scaffold": prefix.scaffold_tokens,
        "budget": config.budget,
        "budgets": list(config.question_budgets if for_questions else config.budgets),
        "similarity": config.similarity,
        "blank_share": round(float(blank[0]), 6),
        "evidence": _surviving(page, prefix, evidence),
        "spread": {term: round(float(values[0]), 6) for term, values in spread.items()},
    }


def _surviving(page: EncodedImage, prefix: VisualPrefix, evidence: tuple[Box, ...]) -> dict[str, Any] | None:
    """Of the inked patches under the evidence; None where none are known."""
    from llava.eval.benchmarks.benchmark import BenchmarkSample
    from llava.eval.evidence import evidence_patches_of
    from shirg.survival import surviving_patches

    assert page.encoded is not None
    assert prefix.shirg is not None
    sample = BenchmarkSample(id="", page="", kind="", question="", golds=(), image=page.image, evidence=evidence)
    dual = page.encoded.dual
    wanted = evidence_patches_of(sample, dual.grids[0]).to(dual.detail.device)
    if not bool(wanted.any()):
        return None
    survive = int(surviving_patches(dual, prefix.shirg.tokens)[0, wanted].sum())
    return {"patches": int(wanted.sum()), "survive": survive, "recall": round(survive / int(wanted.sum()), 6)}


def _table(question: str, counts: dict[str, Any], heatmap: str | None) -> Table:
    table = Table(title=Text(one_line(question)), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    budgets = ", ".join(f"{budget:,}" for budget in counts["budgets"])
    table.add_row("candidates", f"{counts['candidates']:,} patches")
    table.add_row("anchors", f"{counts['anchors']:,}")
    table.add_row("budget", f"{counts['budget']} of {budgets}")
    table.add_row("kept", f"{counts['kept']:,} detail tokens, made of {counts['kept_patches']:,} patches")
    table.add_row("merged", f"{counts['merged']:,} patches folded into kept tokens")
    table.add_row("dropped", f"{counts['dropped']:,} patches")
    table.add_row("scaffold", f"{counts['scaffold']:,} tokens")
    table.add_row("blank", f"{counts['blank_share']:.0%} of the kept tokens show nothing but paper")
    if (evidence := counts["evidence"]) is not None:
        table.add_row("evidence", f"{evidence['survive']:,} of its {evidence['patches']:,} inked patches survive")
    table.add_row("similarity", counts["similarity"])
    table.add_row("spread", ", ".join(f"{term} {value:.4f}" for term, value in counts["spread"].items()))
    if heatmap is not None:
        table.add_row("heat map", Text(one_line(heatmap)))
    return table
