"""What a comparison of many rows says: every cell's numbers, and tables of them in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llava.eval.ablation import Cell
from llava.eval.statistics import bootstrap_difference, bootstrap_mean, rank_correlation, sign_flip_test
from llava.eval.summary import RESAMPLING_SEED


def summarize_cells(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every cell in plain values: mean and interval of each metric, and its difference from the first row.

    The difference is that from the first row's cell at the same budget (where one of the two has no budget, from its
    first), paired by question, with an interval of a bootstrap over pages and the p-value of a sign-flip test. There is
    none where the first row has other budgets only.
    """
    return [_summarize(cell, _reference(cell, cells)) for cell in cells]


def _reference(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    same = [other for other in cells if other.row is cells[0].row and other.benchmark == cell.benchmark]
    if cell.budget is None or same[0].budget is None:
        return same[0]
    return next((other for other in same if other.budget == cell.budget), None)


def _summarize(cell: Cell, reference: Cell | None) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for metric in cell.records[0][0].scores:
        scores, pages = cell.scores(metric), cell.pages
        mean = bootstrap_mean(scores, pages, generator=np.random.default_rng(RESAMPLING_SEED))
        metrics[metric] = {"mean": mean.estimate, "low": mean.low, "high": mean.high}
        if reference is not None and cell.row is not reference.row:
            pair = (scores, reference.scores(metric), pages)
            gap = bootstrap_difference(*pair, generator=np.random.default_rng(RESAMPLING_SEED))
            chance = sign_flip_test(*pair, generator=np.random.default_rng(RESAMPLING_SEED))
            metrics[metric]["difference"] = {"mean": gap.estimate, "low": gap.low, "high": gap.high, "p": chance}
    return {
        "row": cell.row.name,
        "method": cell.row.method,
        "trained": cell.row.trained,
        "benchmark": cell.benchmark.label,
        "budget": cell.budget,
        "questions": len(cell.pages),
        "pages": len(set(cell.pages)),
        "seeds": len(cell.records),
        "tokens": cell.tokens,
        "milliseconds": cell.milliseconds,
        **cell.pace,
        **_against(cell, reference),
        **_evidence(cell),
        "metrics": metrics,
        "provenance": list(cell.provenance),
    }


def _against(cell: Cell, reference: Cell | None) -> dict[str, float | None]:
    """The share of answers that are the first row's word for word, and the median over questions of the time that
    denoising took, divided by the first row's."""
    if reference is None or len(reference.records) != len(cell.records):
        return {"same_text": None, "time_ratio": None}
    pairs = [
        (record.answer, other.answer)
        for records, others in zip(cell.records, reference.records, strict=True)
        for record, other in zip(records, others, strict=True)
    ]
    return {
        "same_text": float(np.mean([answer == other for answer, other in pairs])),
        "time_ratio": float(np.median(cell.denoising / reference.denoising)),
    }


def _evidence(cell: Cell) -> dict[str, float | None]:
    """How often and how much of the evidence survives, the main metric where all of it does and where not, and the
    share of tokens that show nothing."""
    found = [record for records in cell.evidence for record in records]
    blank = [record.blank_share for records in cell.records for record in records if record.blank_share is not None]
    main = next(iter(cell.records[0][0].scores))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for records, survivors in zip(cell.records, cell.evidence, strict=False):
        by_id = {record.id: record.scores[main] for record in records}
        for record in survivors:
            scores[record.survives].append(by_id[record.id])
    return {
        "evidence_recall": float(np.mean([record.survives for record in found])) if found else None,
        "evidence_share": float(np.mean([record.share for record in found])) if found else None,
        "with_evidence": float(np.mean(scores[True])) if scores[True] else None,
        "without_evidence": float(np.mean(scores[False])) if scores[False] else None,
        "blank_share": float(np.mean(blank)) if blank else None,
    }


def foretelling(summaries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Spearman's rank correlation of evidence recall, and of the evidence's share, with the main metric over the cells.

    Empty where fewer than three cells have evidence, or all have as much.
    """
    known = [each for each in summaries if each["evidence_recall"] is not None]
    if len(known) < 3:
        return {}
    main = next(iter(known[0]["metrics"]))
    scores = [each["metrics"][main]["mean"] for each in known]
    found = {}
    for name in ("evidence_recall", "evidence_share"):
        values = [each[name] for each in known]
        if len(set(values)) > 1 and len(set(scores)) > 1:
            found[name] = rank_correlation(values, scores)
    return found


def markdown_tables(summaries: Sequence[Mapping[str, Any]]) -> str:
    """One table per benchmark: a line per row and budget, the main metric first."""
    return "\n\n".join(
        "\n".join(_table(label, [each for each in summaries if each["benchmark"] == label]))
        for label in dict.fromkeys(each["benchmark"] for each in summaries)
    )


def compact_tables(summaries: Sequence[Mapping[str, Any]], metric: str = "exact_match") -> str:
    """A line per row, a column per benchmark at the first budget, then per benchmark a column per budget.

    A downward triangle marks what is worse than the first row, bold type what is better, where the interval of the
    paired difference leaves out zero. Rows with a number of tokens of their own say it, and stand in the first column.

    Raises:
        ValueError: if a benchmark does not measure the metric.
    """
    for each in summaries:
        if metric not in each["metrics"]:
            raise ValueError(f"{each['benchmark']} has no {metric}; it has {', '.join(each['metrics'])}")
    benchmarks = list(dict.fromkeys(each["benchmark"] for each in summaries))
    budgets = list(dict.fromkeys(each["budget"] for each in summaries if isinstance(each["budget"], int)))
    words, first = metric.replace("_", " "), budgets[0] if budgets else None
    tables = []
    if len(benchmarks) > 1:
        columns = {name: (name, first) for name in benchmarks}
        heading = words if first is None else f"{words} at K = {first}"
        tables.append(_compact(summaries, heading, columns, metric, recall=True))
    for name in benchmarks:
        if len(budgets) > 1 or len(benchmarks) == 1:
            columns = {str(budget): (name, budget) for budget in budgets} or {name: (name, None)}
            tables.append(_compact(summaries, f"{words}, {name}, K =", columns, metric, recall=False))
    return "\n\n".join("\n".join(table) for table in tables)


def _compact(
    summaries: Sequence[Mapping[str, Any]],
    heading: str,
    columns: Mapping[str, tuple[str, int | None]],
    metric: str,
    *,
    recall: bool,
) -> Iterator[str]:
    """``columns``: the benchmark and the budget under each title."""
    titles = [*columns, "evidence recall"] if recall else [*columns]
    yield f"| {heading} | {' | '.join(titles)} |"
    yield f"| --- | {' | '.join('---:' for _ in titles)} |"
    for row in dict.fromkeys(each["row"] for each in summaries):
        own = {(each["benchmark"], each["budget"]): each for each in summaries if each["row"] == row}
        label = row
        if not any(isinstance(budget, int) for _, budget in own):
            # What has no budget stands under the first one of its benchmark.
            label = f"{row} ({next(iter(own.values()))['tokens']:,.0f} tokens)"
            firsts = {benchmark: (benchmark, budget) for benchmark, budget in reversed([*columns.values()])}
            own = {firsts[each["benchmark"]]: each for each in own.values() if each["benchmark"] in firsts}
        cells = [own.get(column) for column in columns.values()]
        if not any(cells):
            continue
        line = ["" if cell is None else _marked(cell["metrics"][metric]) for cell in cells]
        if recall:
            shares = [None if cell is None else cell["evidence_recall"] for cell in cells]
            known = ["" if share is None else f"{share:.2f}" for share in shares]
            line.append(" / ".join(known) if any(known) else "")
        yield f"| {label} | {' | '.join(line)} |"


def _marked(score: Mapping[str, Any]) -> str:
    text = f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
    gap = score.get("difference")
    if gap is None or gap["low"] <= 0 <= gap["high"]:
        return text
    return f"**{text}**" if gap["low"] > 0 else f"{text} ▼"


def pace_tables(summaries: Sequence[Mapping[str, Any]]) -> str:
    """One table per benchmark: what each row's answers cost, and how they compare with the first row's."""
    return "\n\n".join(
        "\n".join(_pace_table(label, [each for each in summaries if each["benchmark"] == label]))
        for label in dict.fromkeys(each["benchmark"] for each in summaries)
    )


def _pace_table(label: str, summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    metrics = list(summaries[0]["metrics"])
    heading = (f"denoising, {label}", "forwards", "tokens a forward", "same text", "time", *metrics)
    yield f"| {' | '.join(heading)} |"
    yield f"| --- | {' | '.join('---:' for _ in heading[1:])} |"
    for each in summaries:
        line = [each["row"], f"{each['forwards']:.2f}", f"{each['tokens_per_forward']:.2f}"]
        compared = ((each["same_text"], ".1%"), (each["time_ratio"], ".2f"))
        line += ["" if value is None else format(value, form) for value, form in compared]
        line += [f"{each['metrics'][metric]['mean']:.3f}" for metric in metrics]
        yield f"| {' | '.join(line)} |"


def _table(label: str, summaries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    metrics = list(summaries[0]["metrics"])
    heading = ["row", "K", "image tokens"]
    for metric in metrics:
        heading += [metric, "difference"]
    columns = ["evidence_recall", "evidence_share", "with_evidence", "without_evidence"]
    heading += ["evidence recall", "share", "with", "without"]
    if any(each.get("blank_share") is not None for each in summaries):
        columns.append("blank_share")
        heading.append("blank")
    heading.append("ms")
    yield f"**{label}** ({summaries[0]['questions']:,} questions on {summaries[0]['pages']:,} pages)"
    yield ""
    yield f"| {' | '.join(heading)} |"
    yield f"| --- | {' | '.join('---:' for _ in heading[1:])} |"
    for each in summaries:
        name = each["row"] + ("" if each["trained"] else " (inference only)")
        line = [name, "" if each["budget"] is None else str(each["budget"]), f"{each['tokens']:,.0f}"]
        for metric in metrics:
            score = each["metrics"][metric]
            line.append(f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]")
            gap = score.get("difference")
            line.append("" if gap is None else f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]")
        line += ["" if (value := each.get(name)) is None else f"{value:.3f}" for name in columns]
        line.append(f"{each['milliseconds']:.1f}")
        yield f"| {' | '.join(line)} |"
    if correlations := foretelling(summaries):
        told = " and ".join(f"{value:+.2f} ({name.replace('_', ' ')})" for name, value in correlations.items())
        yield ""
        yield f"Rank correlation with {metrics[0]} over these lines: {told}. With and without: {metrics[0]} where"
        yield "all of a question's evidence survives, and where not."
