"""Many ways to choose tokens on the same questions: rows of a configuration, run one after the other.

A row is a method, or SHIRG-X with some settings changed, on a model of its own if it was trained for that. Every row's
answers go to a directory of their own, so a killed run goes on where it was, and rows may be added later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, no_type_check

import numpy as np

from llava.eval.asked import Asked
from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.encoder import PageEncoder
from llava.eval.evaluate import evaluate, open_results, source_of
from llava.eval.evidence import EvidenceRecord, evidence_recall, store_evidence, stored_evidence
from llava.eval.methods import Budget, Method
from llava.eval.results import AnswerRecord, ResultSet
from llava.eval.summary import judge_together
from llava.inference.checkpoint import BUNDLED_MODEL, Checkpoint
from llava.inference.decoding import DECODING
from llava.inference.session import Session
from shirg.settings import Settings

Progress = Callable[[str, int, int], object]
"""Told what is asked now, how many of its questions are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkChoice(Settings):
    """Questions to ask.

    Raises:
        ValueError: if there is no such benchmark, split or style, or pages without end are asked all their questions.
    """

    name: str
    style: str | None = None
    """Of drawn pages; the benchmark's own when not given."""
    split: str | None = None
    """The one to evaluate on when not given."""
    questions: int | None = 300
    """None for all of a data set."""
    data: str | None = None
    """A directory or a name on the hub, instead of the benchmark's own."""

    def __post_init__(self) -> None:
        self.check_text("name")
        benchmark = find_benchmark(self.name)
        if self.questions is not None:
            self.check_count("questions", 1)
        elif benchmark.styles:
            raise ValueError(f"{self.name} has questions without end; say how many")
        object.__setattr__(self, "style", benchmark.style if self.style is None else self.style)
        object.__setattr__(self, "split", benchmark.splits[0] if self.split is None else self.split)
        assert self.split is not None
        benchmark.check(split=self.split, style=self.style, data=self.data)

    @property
    def label(self) -> str:
        return "-".join(part for part in (self.name, self.style, self.split) if part)

    def open(self) -> Asked:
        """The questions, with the data opened.

        Raises:
            FileNotFoundError, ValueError: if the data is missing or cannot be asked about.
        """
        assert self.split is not None
        return Asked(
            benchmark=find_benchmark(self.name),
            split=self.split,
            style=self.style,
            questions=self.questions,
            data=self.data,
        )


def _numbers(value: Any, what: str, *words: str) -> tuple[Any, ...]:
    known = isinstance(value, list | tuple) and all(type(each) is int or each in words for each in value)
    if not known or not value:
        kinds = " or ".join(("whole numbers", *words))
        raise ValueError(f"{what} must be a list of {kinds}, got {value!r}")
    return tuple(value)


@no_type_check  # lists arrive from YAML and leave __post_init__ as tuples
@dataclass(frozen=True, kw_only=True)
class RowConfig(Settings):
    """One row of the table.

    Raises:
        ValueError: if the name is empty or would leave its directory, or the seeds are no list of numbers.
    """

    name: str
    method: str = "shirg_x"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to SHIRG-X's settings."""
    model: str | None = None
    """A checkpoint of this row's own; the configuration's when not given."""
    adapter: str | None = None
    budgets: tuple[int | Literal["auto", "question"], ...] | None = None
    """The configuration's when not given."""
    seeds: tuple[int, ...] = (0,)
    """Of choices at random; a row's score is the mean over them."""
    trained: bool = False
    """Whether the model was trained to see tokens chosen this way, or meets them at inference only."""

    def __post_init__(self) -> None:
        self.check_text("name")
        self.check_pairs("settings")
        self.check_switch("trained")
        if any(character in self.name for character in "/\\|") or self.name.startswith("."):
            raise ValueError(f"a row's name must be a plain text without / and |, got {self.name!r}")
        object.__setattr__(self, "seeds", _numbers(self.seeds, f"seeds of row {self.name!r}"))
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds of row {self.name!r} must be at least 0 and differ, got {[*self.seeds]}")
        if self.budgets is not None:
            object.__setattr__(
                self, "budgets", _numbers(self.budgets, f"budgets of row {self.name!r}", "auto", "question")
            )


@no_type_check  # sections arrive as plain values and leave __post_init__ as what they describe
@dataclass(frozen=True, kw_only=True)
class AblationConfig(Settings):
    """What to compare, on what, with which model.

    Raises:
        ValueError: if anything in it is unknown or wrong, or two rows share a name.
    """

    out: str
    """Where every row's answers go."""
    benchmarks: tuple[BenchmarkChoice, ...]
    rows: tuple[RowConfig, ...]
    """The first is what the others are compared with."""
    tables: str | None = None
    """Where numbers, tables and plots go; ``out`` when not given."""
    model: str = str(BUNDLED_MODEL)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to SHIRG-X's settings in every row; a row's own come on top."""
    budgets: tuple[int | Literal["auto", "question"], ...] = (512, 768, 1024)
    tokens: int = 32
    """Answer positions."""
    batch_size: int = 32
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, kind in (("benchmarks", BenchmarkChoice), ("rows", RowConfig)):
            entries = getattr(self, name)
            if not isinstance(entries, list | tuple) or not entries:
                raise ValueError(f"{name} must be a list of at least one, got {entries!r}")
            made = []
            for number, entry in enumerate(entries, 1):
                if isinstance(entry, kind):
                    made.append(entry)
                    continue
                if not isinstance(entry, Mapping):
                    raise ValueError(f"{name}, entry {number} must be 'name: value' pairs, got {entry!r}")
                try:
                    made.append(kind.from_dict(entry))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{name}, entry {number}: {error}") from error
            object.__setattr__(self, name, tuple(made))
        self.check_text("out")
        self.check_text("model")
        if self.tables is not None:
            self.check_text("tables")
        self.check_pairs("settings")
        for what, names in (
            ("row needs a name of its own", [row.name for row in self.rows]),
            ("benchmark can be asked once", [choice.label for choice in self.benchmarks]),
        ):
            if repeated := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"each {what}, got {repeated[0]!r} twice")
        object.__setattr__(self, "budgets", _numbers(self.budgets, "budgets", "auto", "question"))
        for name in ("tokens", "batch_size"):
            self.check_count(name, 1)


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
    resolved = [resolve_row(config, row) for row in config.rows]
    opened = [(choice, choice.open()) for choice in config.benchmarks]
    for choice, asked in opened:
        _check_pages(choice, asked)
    cells: list[Cell] = []
    for row, (checkpoint, method) in zip(config.rows, resolved, strict=True):
        # Within a function, so that one row's model is gone before the next one's is loaded.
        cells += _answer_row(config, row, checkpoint, method, opened, on_progress)
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


def _answer_row(
    config: AblationConfig,
    row: RowConfig,
    checkpoint: Checkpoint,
    method: Method,
    opened: Sequence[tuple[BenchmarkChoice, Asked]],
    on_progress: Progress | None,
) -> list[Cell]:
    """One row on all benchmarks."""
    session = Session.open(checkpoint.encoding(method.patch_settings), device=config.device)
    source = source_of(session, checkpoint)
    cells: list[Cell] = []
    for choice, asked in opened:
        cells += _answer(config, row, method, session, source, choice, asked, on_progress)
    return cells


def _answer(
    config: AblationConfig,
    row: RowConfig,
    method: Method,
    session: Session,
    source: Mapping[str, Any],
    choice: BenchmarkChoice,
    asked: Asked,
    on_progress: Progress | None,
) -> list[Cell]:
    """One row on one benchmark, at all its budgets and with all its seeds."""
    decoding = replace(DECODING, max_new_tokens=config.tokens, block_length=None)
    on_batch = None if on_progress is None else _reporter(on_progress, f"{choice.label}: {row.name}", asked.count)
    records: dict[Budget, list[Sequence[AnswerRecord]]] = {budget: [] for budget in method.budgets}
    survivors: dict[Budget, list[list[EvidenceRecord]]] = {budget: [] for budget in method.budgets}
    sources: dict[Budget, list[dict[str, Any]]] = {budget: [] for budget in method.budgets}
    for seed in row.seeds:
        encoder = PageEncoder(session=session, method=method, seed=seed)
        seeded = Path(config.out, choice.label, row.name, f"seed-{seed}")
        places = {budget: seeded / f"budget-{budget}" for budget in method.budgets}
        results = open_results(asked, encoder, decoding, source, places, batch_size=config.batch_size)
        evaluate(asked, encoder, results, decoding, batch_size=config.batch_size, on_batch=on_batch)
        for budget, result in results.items():
            records[budget].append(judge_together(result.records, asked.benchmark.corpus_metrics))
            sources[budget] += result.provenance
        if method.name != "stock" and asked.benchmark.hub is None:
            for budget, found in _evidence(encoder, asked, results).items():
                survivors[budget].append(found)
    return [
        Cell(
            row=row,
            benchmark=choice,
            budget=budget,
            records=records[budget],
            evidence=survivors[budget],
            provenance=sources[budget],
        )
        for budget in method.budgets
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
    """The row's model, and its method with its settings and budgets.

    Settings are the adapter's or the checkpoint's, with the configuration's changes and the row's on top.

    Raises:
        FileNotFoundError, ValueError: if its checkpoint or its adapter is missing, or its settings are wrong.
    """
    with _naming(row):
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
