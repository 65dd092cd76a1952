"""What models are asked: named sets of questions about pages, each with the metrics that judge it.

A benchmark is a name, its metrics and an iterator of samples; one that reads a data set instead of drawing pages is one
more entry of ``BENCHMARKS``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from types import MappingProxyType

from PIL import Image

from llava.eval.metrics import METRICS, Metric
from llava.train.pages import STYLES, Box, draw_page

PAGE_SEED = 0
"""Of every drawn page; another seed would be another benchmark."""
DRAWN_SPLITS = ("test", "shifted", "validation")
"""Training pages are no test."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One question with its right answers. Samples about one page stand together and share its image."""

    id: str
    page: str
    """Names the image; results of one page are not independent of each other."""
    kind: str
    """The kind of question; empty where a benchmark tells none apart."""
    question: str
    golds: tuple[str, ...]
    """Every answer that counts as right."""
    image: Image.Image
    evidence: tuple[Box, ...] = ()
    """Where on the page the answer and what the question names stand, as far as that is known."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A set of questions in a fixed order."""

    name: str
    metrics: tuple[str, ...]
    """Keys of ``METRICS``, the main one first."""
    splits: tuple[str, ...]
    styles: tuple[str, ...]
    read: Callable[[str, str], Iterator[Sample]]
    """The samples of (split, style), always in the same order; drawn pages go on without end."""

    def samples(self, *, split: str, style: str, questions: int) -> Iterator[Sample]:
        """The first ``questions`` samples, or as many as there are; the last page's may be cut.

        Raises:
            ValueError: if there is no such split or style, or no question is asked for.
        """
        for what, value, known in (("split", split, self.splits), ("style", style, self.styles)):
            if value not in known:
                raise ValueError(f"{self.name} has no {what} {value!r}; use one of {', '.join(known)}")
        if questions < 1:
            raise ValueError(f"the number of questions must be at least 1, got {questions}")
        return islice(self.read(split, style), questions)

    def score(self, answer: str, golds: tuple[str, ...]) -> dict[str, float]:
        """The answer judged by each metric, from 0 to 1."""
        judges: dict[str, Metric] = {name: METRICS[name] for name in self.metrics}
        return {name: judge(answer, golds) for name, judge in judges.items()}


def draw_samples(family: str, split: str, style: str) -> Iterator[Sample]:
    """All questions of page 0, of page 1, and so on without end; a page is drawn when its first question is due."""
    for number in count():
        page = draw_page(family, split, PAGE_SEED, number, STYLES[style])
        name = f"{family}-{style}-{split}-{PAGE_SEED}-{number}"
        for place, asked in enumerate(page.questions):
            yield Sample(
                id=f"{name}-{place}",
                page=name,
                kind=asked.kind,
                question=asked.question,
                golds=(asked.answer,),
                image=page.image,
                evidence=(*asked.answer_boxes, *asked.evidence),
            )


def _drawn(name: str, family: str, main_metric: str) -> Benchmark:
    return Benchmark(
        name=name,
        metrics=(main_metric, "exact_match"),
        splits=DRAWN_SPLITS,
        styles=tuple(STYLES),
        read=partial(draw_samples, family),
    )


BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            _drawn("entitygrid", "entity_grid", "token_f1"),
            _drawn("chartpage", "chart_page", "relaxed_accuracy"),
            _drawn("docpage", "doc_page", "anls"),
        )
    }
)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {name!r}; use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
