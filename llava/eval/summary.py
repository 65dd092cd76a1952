"""What many records say together: means with intervals, by kind, and the differences between results.

Intervals are bootstrapped over pages, whose questions are right or wrong together; the draws are the same every time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llava.eval.results import SUMMARY_FILE, AnswerRecord, ResultSet, read_finished
from llava.eval.statistics import Interval, bootstrap_difference, bootstrap_mean, sign_flip_test
from llava.files import write_json, write_text
from llava.metrics import CORPUS_METRICS
from llava.metrics.calibration import expected_calibration_error

VARIATION_FILE = "variation.md"
RESAMPLING_SEED = 0
MIN_PAGES = 2
"""Fewer do not show how much pages differ, so that there is a mean and no interval."""


def judge_together(records: Sequence[AnswerRecord], metrics: Sequence[str]) -> Sequence[AnswerRecord]:
    """The records of answers with their scores by corpus metrics as well, where there are enough to judge."""
    records = [record for record in records if record.fault is None]
    if len(records) < 2:
        return records
    answers, golds = [record.answer for record in records], [record.golds for record in records]
    found = {metric: CORPUS_METRICS[metric](answers, golds) for metric in metrics}
    return [
        replace(record, scores={**record.scores, **{metric: scores[place] for metric, scores in found.items()}})
        for place, record in enumerate(records)
    ]


def write_summary(results: ResultSet, corpus_metrics: Sequence[str]) -> dict[str, Any]:
    """What the results say together, with their settings and what they came from; also written beside them.

    ``broken`` names the questions that could not be asked, and why; nothing else counts them.

    Raises:
        ValueError: if none could be asked.
    """
    judged = judge_together(results.records, corpus_metrics)
    broken = {record.id: record.fault for record in results.records if record.fault is not None}
    if broken and not judged:
        name, fault = next(iter(broken.items()))
        raise ValueError(f"none of the {len(broken)} questions could be asked; question {name}: {fault}")
    told = summarize(judged, list(judged[0].scores) if judged else [])
    summary = {"settings": dict(results.settings), "provenance": results.provenance, **told, "broken": broken}
    write_json(summary, results.directory / SUMMARY_FILE)
    if table := variation_table(summary):
        write_text(table, results.directory / VARIATION_FILE)
    return summary


def summarize(records: Sequence[AnswerRecord], metrics: Sequence[str]) -> dict[str, Any]:
    """Numbers of questions and tokens, and each metric's mean with its interval, over all records and per kind.

    ``low`` and ``high`` are null for fewer than two pages. ``seconds`` are means per question; a page's encoding is
    counted once and shared by its questions. ``forwards`` is their mean per answer, ``tokens_per_forward`` that of all
    tokens told over all forwards. ``calibration_error`` compares confidence with exact match, where that is judged.

    Raises:
        ValueError: if there are no records.
    """
    if not records:
        raise ValueError("there are no records to summarize; answer at least one question")
    kinds = {kind: [record for record in records if record.kind == kind] for kind in sorted({r.kind for r in records})}
    return {
        "num_pages": len({record.page for record in records}),
        **_scores(records, metrics),
        "kinds": {kind: _scores(asked, metrics) for kind, asked in kinds.items()},
        "traits": summarize_traits(records, metrics),
        "detail_tokens": _mean_of([r.detail_tokens for r in records if r.detail_tokens is not None]),
        "total_tokens": _mean_of([record.total_tokens for record in records]),
        "blank_share": _mean_of([r.blank_share for r in records if r.blank_share is not None]),
        "forwards": float(np.mean([record.forwards for record in records])),
        "tokens_per_forward": sum(r.answer_tokens for r in records) / sum(r.forwards for r in records),
        "calibration_error": expected_calibration_error(
            [record.confidence for record in records], [record.scores["exact_match"] for record in records]
        )
        if "exact_match" in metrics
        else None,
        "seconds": _seconds(records),
    }


def summarize_traits(records: Sequence[AnswerRecord], metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each trait of the pages and each of its values, as for the kinds; in the order of the values' names."""
    found: dict[str, dict[str, list[AnswerRecord]]] = {}
    for record in records:
        for trait, value in record.traits.items():
            found.setdefault(trait, {}).setdefault(value, []).append(record)
    return {
        trait: {
            value: _scores(asked, metrics) for value, asked in sorted(values.items(), key=lambda pair: _order(pair[0]))
        }
        for trait, values in found.items()
    }


def _order(value: str) -> tuple[bool, float, str]:
    """Intervals by their numbers, what lies below the first one first."""
    number = re.match(r"(below )?([0-9.]+)", value)
    if number is None:
        return True, 0.0, value
    return False, float(number[2]) - 0.001 * bool(number[1]), value


def variation_table(summary: Mapping[str, Any]) -> str:
    """A Markdown table of a summary's scores by the traits of pages; empty if its pages have none."""
    if not summary["traits"]:
        return ""
    metrics = summary["settings"]["metrics"]
    rows = [["what differs", "", "questions", *metrics], ["---", "---", *["---:"] * (1 + len(metrics))]]
    for name, part in (("all", {"": summary}), *summary["traits"].items()):
        for place, (value, told) in enumerate(part.items()):
            scores = [format_score(told["scores"][metric]) for metric in metrics]
            rows.append(["" if place else name, value, f"{told['num_questions']:,}", *scores])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _scores(records: Sequence[AnswerRecord], metrics: Sequence[str]) -> dict[str, Any]:
    pages = [record.page for record in records]
    scores: dict[str, dict[str, float | None]] = {}
    for metric in metrics:
        values = [record.scores[metric] for record in records]
        scores[metric] = {"mean": float(np.mean(values)), "low": None, "high": None}
        if len(set(pages)) >= MIN_PAGES:
            interval = bootstrap_mean(values, pages, generator=np.random.default_rng(RESAMPLING_SEED))
            scores[metric] |= {"low": interval.low, "high": interval.high}
    return {"num_questions": len(records), "scores": scores}


def _mean_of(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _seconds(records: Sequence[AnswerRecord]) -> dict[str, float]:
    encode = {record.page: record.seconds["encode"] for record in records}
    means = {"encode": sum(encode.values()) / len(records)}
    for stage in ("select", "denoise"):
        means[stage] = float(np.mean([record.seconds[stage] for record in records]))
    return {stage: round(seconds, 6) for stage, seconds in means.items()}


def compare(directories: Sequence[Path]) -> str:
    """A Markdown table of finished results, each with its paired difference from the first.

    Differences come with 95 % intervals of a bootstrap over pages and the p-value of a sign-flip test.

    Raises:
        FileNotFoundError: if a directory holds no finished results.
        ValueError: if there are fewer than two, they do not answer the same questions, or are judged differently.
    """
    if len(directories) < 2:
        raise ValueError("there is nothing to compare; give at least two result directories")
    results = [(directory, *_read_judged(directory)) for directory in directories]
    first, summary, records = results[0]
    metrics = list(summary["scores"])
    for directory, other, answers in results[1:]:
        if list(other["scores"]) != metrics:
            raise ValueError(f"{directory} and {first} are judged by other metrics; compare results of one benchmark")
        _check_same_questions(directory, answers, first, records)
    heading = ["results", "method", "budget", "tokens"]
    for metric in metrics:
        heading += [metric, "difference", "p"]
    rows = [heading, ["---", "---", *["---:"] * (len(heading) - 2)]]
    for directory, other, answers in results:
        row = [str(directory).replace("|", "\\|"), *_describe(other)]
        for metric in metrics:
            row.append(format_score(other["scores"][metric]))
            row += ["", ""] if directory is first else _difference(answers, records, metric)
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _read_judged(directory: Path) -> tuple[dict[str, Any], Sequence[AnswerRecord]]:
    summary, records = read_finished(directory)
    return summary, judge_together(records, [metric for metric in summary["scores"] if metric in CORPUS_METRICS])


def format_score(score: Mapping[str, float | None]) -> str:
    """A mean and its interval, as ``0.531 [0.480, 0.582]``."""
    return _format(score["mean"], score["low"], score["high"], "")


def _format(value: float | None, low: float | None, high: float | None, sign: str) -> str:
    interval = "" if low is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}{interval}"


def _describe(summary: Mapping[str, Any]) -> list[str]:
    budget = summary["settings"]["budget"]
    return [
        summary["settings"]["method"],
        "" if budget is None else str(budget),
        f"{summary['total_tokens']:,.0f}",
    ]


def _difference(records: Sequence[AnswerRecord], others: Sequence[AnswerRecord], metric: str) -> list[str]:
    scores, baseline = ([record.scores[metric] for record in each] for each in (records, others))
    pages = [record.page for record in records]
    if len(set(pages)) < MIN_PAGES:
        return [_format(float(np.mean(scores) - np.mean(baseline)), None, None, "+"), ""]
    interval: Interval = bootstrap_difference(scores, baseline, pages, generator=np.random.default_rng(RESAMPLING_SEED))
    p = sign_flip_test(scores, baseline, pages, generator=np.random.default_rng(RESAMPLING_SEED))
    return [_format(interval.estimate, interval.low, interval.high, "+"), f"{p:.4f}"]


def _check_same_questions(
    directory: Path, records: Sequence[AnswerRecord], first: Path, others: Sequence[AnswerRecord]
) -> None:
    asked, expected = (
        [(record.id, record.page, record.question, record.golds) for record in each] for each in (records, others)
    )
    if asked != expected:
        shared = len(set(asked) & set(expected))
        raise ValueError(
            f"{directory} and {first} are not about the same questions: {len(asked)} and {len(expected)}, of which "
            f"{shared} are shared; compare results of one benchmark, split, style and number of questions"
        )
