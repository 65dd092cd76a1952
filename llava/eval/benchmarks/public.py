"""Public data sets as benchmarks, read from the hub or from a directory with the hub's tables.

Splits, configurations and columns are those of the sets' cards on the hub (lmms-lab/ChartQA, lmms-lab/DocVQA,
lmms-lab/textvqa, echo840/OCRBench). Questions are asked as lmms-eval asks LLaVA: followed by a request for a short
answer, and OCRBench's plain.

``datasets`` downloads all splits of a set. To fetch only what is evaluated, and name DIR as the data:

    hf download lmms-lab/textvqa --repo-type dataset --include "data/validation-*" --local-dir DIR
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava.data.records import SHORT_ANSWER, unique_ids
from llava.data.tables import TableImages, check_columns, filled, open_table, rows_of
from llava.eval.benchmarks.benchmark import Benchmark, BenchmarkSample
from llava.metrics import contains_formula
from llava.metrics.vqa import AGREEING

if TYPE_CHECKING:
    import datasets

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class QuestionTable:
    """A set on the hub whose rows hold an image, a question and its right answers."""

    name: str
    hub: str
    config: str | None = None
    """The hub's configuration, where there are several."""
    id: str | None = None
    """Column of ids; rows are named by their numbers without it."""
    answers: str = "answers"
    """Column of one answer or of a list of them."""
    kind: str | None = None
    """Column of the kind of question, or of a list of kinds."""
    suffix: str = SHORT_ANSWER
    """Put behind every question."""
    least_answers: int = 1
    """Fewer than these cannot be scored."""

    @property
    def columns(self) -> set[str]:
        """All that are read."""
        return {"image", "question", self.answers} | {name for name in (self.id, self.kind) if name is not None}


class TableSamples:
    """The rows of a table as samples in their order; each image stays in the table until it is asked for.

    Rows with the same image, byte for byte, are about one page.

    Raises:
        ValueError: if the table lacks a column or all answers, or no row of it can be asked about.
    """

    def __init__(self, table: "datasets.Dataset", kind: QuestionTable, split: str) -> None:
        name = f"{kind.name}, split {split},"
        check_columns(table, kind.columns, name)
        self._images, self._kind, self._split = TableImages(table, "image", f"{kind.name}, split {split}"), kind, split
        self._rows = list(rows_of(table.select_columns(sorted(kind.columns - {"image"}))))
        ids = range(len(table)) if kind.id is None else (row[kind.id] for row in self._rows)
        self._ids = unique_ids(ids, f"{kind.name}/{split}")
        self._golds = [_texts(row[kind.answers]) for row in self._rows]
        if not any(self._golds):
            raise ValueError(
                f"{name} has no answers, so nothing can be scored; choose another split, or texts in the column "
                f"{self._kind.answers}"
            )
        self._has_image = filled(table, "image")
        self._faults = [self._fault(number) for number in range(len(self._rows))]
        if None not in self._faults:
            raise ValueError(f"{name} cannot be asked about: {self._faults[0]}; give complete data with --data")

    def _fault(self, number: int) -> str | None:
        """Why a row cannot be asked about, as far as that is known without its image."""
        question, golds = self._rows[number]["question"] or "", self._golds[number]
        if not self._has_image[number]:
            return f"row {number} has no image"
        if not isinstance(question, str):
            return f"row {number} has the question {question!r}, which is no text"
        if not question.strip():
            return f"row {number} has no question"
        if len(golds) < self._kind.least_answers:
            return f"row {number} has {len(golds)} of the {self._kind.least_answers} answers that its metrics need"
        return None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[BenchmarkSample]:
        for number, row in enumerate(self._rows):
            yield BenchmarkSample(
                id=self._ids[number],
                page=f"{self._kind.name}/{self._images.digest(number) if self._has_image[number] else None}",
                kind="" if self._kind.kind is None else ", ".join(sorted(_texts(row[self._kind.kind]))),
                question=str(row["question"] or "").strip() + self._kind.suffix,
                golds=self._golds[number],
                fault=self._faults[number],
                image=partial(self._images.load, number),
            )


def _texts(value: Any) -> tuple[str, ...]:
    """A text or a list of them; none where nothing is said in any, or where there is something else than texts."""
    texts = tuple(text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
    return texts if any(text.strip() for text in texts) else ()


def read_samples(kind: QuestionTable, split: str, data: str | None = None) -> TableSamples:
    """The samples of one split.

    Args:
        data: a directory or a name on the hub; the set's own name when not given.

    Raises:
        FileNotFoundError: if ``data`` is neither.
        ValueError: if the table cannot be opened, or as ``TableSamples``.
    """
    is_directory = data is not None and Path(data).is_dir()
    if data is not None and not is_directory and not _HUB_NAME.fullmatch(data):
        raise FileNotFoundError(f"there is no directory {data} with {kind.name}; check --data")
    table = open_table(
        kind.name,
        hub=kind.hub if data is None or is_directory else data,
        split=split,
        config=kind.config,
        location=data if is_directory else None,
        mend=f"name a directory with the tables of {kind.hub} with --data",
    )
    return TableSamples(table, kind, split)


def _real(kind: QuestionTable, *metrics: str, splits: tuple[str, ...], **more: Any) -> Benchmark:
    def read(split: str, style: str | None, data: str | None) -> TableSamples:
        return read_samples(kind, split, data)

    return Benchmark(name=kind.name, metrics=metrics, splits=splits, read=read, hub=kind.hub, **more)


REAL_BENCHMARKS = (
    # arXiv 2203.10244; the types are human_test and augmented_test.
    _real(
        QuestionTable(name="chartqa", hub="lmms-lab/ChartQA", answers="answer", kind="type"),
        "relaxed_accuracy",
        "exact_match",
        splits=("test",),
        corpus_metrics=("cider",),
    ),
    # arXiv 2007.00398; the answers of the test split are kept by the challenge, as InfographicVQA's and TextVQA's are.
    _real(
        QuestionTable(name="docvqa", hub="lmms-lab/DocVQA", config="DocVQA", id="questionId", kind="question_types"),
        "anls",
        "exact_match",
        splits=("validation", "test"),
    ),
    # arXiv 1904.08920; the answers of ten people to each question.
    _real(
        QuestionTable(name="textvqa", hub="lmms-lab/textvqa", id="question_id", least_answers=AGREEING + 1),
        "vqa_accuracy",
        "exact_match",
        splits=("validation", "test"),
    ),
    # arXiv 2104.12756; the card has answer_type where DocVQA's has question_types.
    _real(
        QuestionTable(
            name="infovqa", hub="lmms-lab/DocVQA", config="InfographicVQA", id="questionId", kind="answer_type"
        ),
        "anls",
        "exact_match",
        splits=("validation", "test"),
    ),
    # arXiv 2305.07895; formulas, all of them from HME100k, are compared in their own way.
    _real(
        QuestionTable(name="ocrbench", hub="echo840/OCRBench", answers="answer", kind="question_type", suffix=""),
        "contains",
        "exact_match",
        splits=("test",),
        by_kind={"Handwritten Mathematical Expression Recognition": {"contains": contains_formula}},
    ),
)
"""Each set with its metrics and splits, the one to evaluate on first."""
