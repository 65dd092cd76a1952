"""Many ways to choose tokens on the same questions: rows of a configuration, run one after the other.

A row is a method, or SHIRG-X with some settings changed, on a model of its own if it was trained for that. Every row's
answers go to a directory of their own, so a killed run goes on where it was, and rows may be added later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from llava.eval.ablation_config import AblationConfig, BenchmarkChoice, RowConfig
from llava.eval.asked import Asked
from llava.eval.encoder import PageEncoder
from llava.eval.evaluate import Run, evaluate, open_runs, source_of
from llava.eval.evidence import EvidenceRecord, evidence_recall, store_evidence, stored_evidence
from llava.eval.methods import Budget, Method
from llava.eval.results import AnswerRecord, ResultSet
from llava.eval.summary import judge_together
from llava.inference.checkpoint import Checkpoint
from llava.inference.session import Session

Progress = Callable[[str, int, int], object]
"""Told what is asked now, how many of its questions are done, and how many there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One row at one budget on one benchmark."""

    row: RowConfig
    benchmark: BenchmarkChoice
    budget: Budget
    records: Sequence[Sequence[AnswerRecord]]
    """Per seed, the answers to the same questions."""
    evidence: Sequence[Sequence[EvidenceRecord]]
    """Per seed, what survives of what each question is about, where that has ink; empty for LaViDa's own encoding and
    for data without boxes."""
    provenance: Sequence[Mapping[str, Any]] = ()
    """Code and machine of the answers, as ``ResultSet.provenance`` tells them."""

    def scores(self, metric: str) -> np.ndarray:
        """(questions,) each question's mean over seeds."""
        return np.mean([[record.scores[metric] for record in records] for records in self.records], axis=0)

    @property
    def pages(self) -> list[str]:
        return [record.page for record in self.records[0]]

    @property
    def tokens(self) -> float:
        """Mean number of image tokens."""
        return float(np.mean([record.total_tokens for records in self.records for record in records]))

    @property
    def denoising(self) -> np.ndarray:
        """(seeds, questions) seconds of denoising each answer."""
        return np.array([[record.seconds["denoise"] for record in records] for records in self.records])

    @property
    def pace(self) -> dict[str, float]:
        """Mean forwards of an answer, and tokens told over all forwards."""
        every = [record for records in self.records for record in records]
        forwards = sum(record.forwards for record in every)
        told = sum(record.answer_tokens for record in every)
        return {"forwards": forwards / len(every), "tokens_per_forward": told / forwards}

    @property
    def milliseconds(self) -> float:
        """Mean time to choose tokens and denoise an answer, without the encoding that all share."""
        times = [record.seconds["select"] + record.seconds["denoise"] for records in self.records for record in records]
        return 1e3 * float(np.mean(times))


def run_rows(config: AblationConfig, *, on_progress: Progress | None = None) -> list[Cell]:
    """Answer what is not answered yet, for every row, benchmark, seed and budget.

    Raises:
        FileNotFoundError, ValueError: if a model is missing, a row's settings are wrong (found before the first row is
            run), or stored answers are of other settings.
    """
    resolved = [(row, *resolve_row(config, row)) for row in config.rows]
    opened = [(choice, choice.open()) for choice in config.benchmarks]
    for choice, asked in opened:
        _check_pages(choice, asked)
    cells: list[Cell] = []
    for _, group in groupby(resolved, key=lambda each: each[0].encoding):
        same = list(group)
        rows = [(row, method) for row, _, method in same]
        # Within a function, so that one row's model is gone before the next one's is loaded.
        cells += _answer_rows(config, rows, same[0][1], opened, on_progress)
    return cells


def _check_pages(choice: BenchmarkChoice, asked: Asked) -> None:
    first = None
    for sample in asked.samples():
        first = first or sample.page
        if sample.page != first:
            return
    raise ValueError(
        f"{choice.label}: all {asked.count} questions are about one page, and how much pages differ cannot be told "
        "from it; ask more"
    )


def _answer_rows(
    config: AblationConfig,
    rows: Sequence[tuple[RowConfig, Method]],
    checkpoint: Checkpoint,
    opened: Sequence[tuple[BenchmarkChoice, Asked]],
    on_progress: Progress | None,
) -> list[Cell]:
    """Rows that show the same tokens to the same model, on all benchmarks."""
    session = Session.open(checkpoint.encoding(rows[0][1].patch_settings), device=config.device)
    source = source_of(session, checkpoint)
    found = [_answer(config, rows, session, source, choice, asked, on_progress) for choice, asked in opened]
    return [cell for row, _ in rows for cells in found for cell in cells if cell.row is row]


def _answer(
    config: AblationConfig,
    rows: Sequence[tuple[RowConfig, Method]],
    session: Session,
    source: Mapping[str, Any],
    choice: BenchmarkChoice,
    asked: Asked,
    on_progress: Progress | None,
) -> list[Cell]:
    """These rows on one benchmark, at all their budgets and with all their seeds."""
    names = ", ".join(row.name for row, _ in rows)
    on_batch = None if on_progress is None else _reporter(on_progress, f"{choice.label}: {names}", asked.count)
    (first, method), corpus_metrics = rows[0], asked.benchmark.corpus_metrics
    runs: dict[str, list[list[Run]]] = {row.name: [] for row, _ in rows}
    survivors: list[Mapping[Budget, list[EvidenceRecord]]] = []
    for seed in first.seeds:
        encoder = PageEncoder(session=session, method=method, seed=seed)
        for row, _ in rows:
            seeded = Path(config.out, choice.label, row.name, f"seed-{seed}")
            places = {budget: seeded / f"budget-{budget}" for budget in method.budgets}
            decoding = config.decoding_of(row)
            runs[row.name].append(open_runs(asked, encoder, decoding, source, places, batch_size=config.batch_size))
        turns = [run for own in runs.values() for run in own[-1]]
        evaluate(asked, encoder, turns, batch_size=config.batch_size, on_batch=on_batch)
        if config.evidence and method.name != "stock" and asked.benchmark.hub is None:
            survivors.append(_evidence(encoder, asked, {run.budget: run.results for run in runs[first.name][-1]}))
    return [
        Cell(
            row=row,
            benchmark=choice,
            budget=budget,
            records=[judge_together(own[place].results.records, corpus_metrics) for own in runs[row.name]],
            evidence=[each[budget] for each in survivors],
            provenance=[where for own in runs[row.name] for where in own[place].results.provenance],
        )
        for row, _ in rows
        for place, budget in enumerate(method.budgets)
    ]


def _evidence(
    encoder: PageEncoder, asked: Asked, results: Mapping[Budget, ResultSet]
) -> Mapping[Budget, list[EvidenceRecord]]:
    """What survives of every question's evidence, read where it was measured before."""
    ids = {budget: [record.id for record in result.records] for budget, result in results.items()}
    found: dict[Budget, list[EvidenceRecord]] = {}
    for budget, result in results.items():
        known = stored_evidence(result.directory, ids[budget])
        if known is not None:
            found[budget] = known
    missing = [budget for budget in results if budget not in found]
    if missing:
        for budget, records in evidence_recall(encoder, asked.samples(), missing).items():
            store_evidence(results[budget].directory, ids[budget], records)
            found[budget] = records
    return found


def _reporter(on_progress: Progress, label: str, questions: int) -> Callable[[int], object]:
    return lambda done: on_progress(label, done, questions)


def resolve_row(config: AblationConfig, row: RowConfig) -> tuple[Checkpoint, Method]:
    """The row's model, and its method with its settings and budgets, once all that the row says is checked.

    Settings are the adapter's or the checkpoint's, with the configuration's changes and the row's on top.

    Raises:
        FileNotFoundError, ValueError: if its checkpoint or its adapter is missing, or its settings are wrong.
    """
    with _naming(row):
        config.decoding_of(row)
        changes = {**config.settings, **row.settings}
        checkpoint = Checkpoint.resolve(row.model or config.model, adapter=row.adapter, changes=changes)
        if checkpoint.adapter is not None:
            checkpoint.adapter.weight_files()
        method = Method(name=row.method, settings=checkpoint.shirg)
        if method.budgets != (None,):
            method = Method(name=row.method, settings=checkpoint.shirg, budgets=row.budgets or config.budgets)
        elif row.budgets:
            raise ValueError(f"the method {row.method} has a number of tokens of its own; leave out budgets")
        return checkpoint, method


@contextmanager
def _naming(row: RowConfig) -> Iterator[None]:
    """Says in which row something is wrong."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"row {row.name!r}: {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"row {row.name!r}: {error}") from error
