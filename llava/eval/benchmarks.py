"""What models are asked: named sets of questions about pages, each with the metrics that judge it.

Some draw their pages, without end; some read public data sets. Another one is one more entry of ``BENCHMARKS``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType

from llava.eval.real_benchmarks import REAL_BENCHMARKS
from llava.eval.samples import Benchmark, Sample
from llava.train.pages import FAMILIES, STYLES, draw_page
from llava.train.pages.stream import WILD
from llava.train.pages.wordings import CAPTIONS, DETAILS

__all__ = ["BENCHMARKS", "Benchmark", "DrawnSamples", "Sample", "find_benchmark"]

PAGE_SEED = 0
"""Of every drawn page; another seed would be another benchmark."""
DRAWN_SPLITS = ("test", "shifted", "validation")
"""Training pages are no test."""
DRAWN_QUESTIONS = 500


@dataclass(frozen=True, kw_only=True)
class DrawnSamples:
    """All questions of some kinds about page 0, page 1, and so on without end, the families taken in turn.

    A page is drawn when its first question is due.
    """

    families: tuple[str, ...]
    kinds: frozenset[str]
    split: str
    style: str

    def __iter__(self) -> Iterator[Sample]:
        style = replace(STYLES[self.style], kinds=self.kinds)
        for turn in count():
            number, family = turn // len(self.families), self.families[turn % len(self.families)]
            page = draw_page(family, self.split, PAGE_SEED, number, style)
            name = f"{family}-{self.style}-{self.split}-{PAGE_SEED}-{number}"
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


def _drawn(
    name: str,
    families: tuple[str, ...],
    main_metric: str,
    *,
    kinds: frozenset[str] = DETAILS,
    corpus_metrics: tuple[str, ...] = (),
) -> Benchmark:
    def read(split: str, style: str | None, data: str | None) -> DrawnSamples:
        assert style is not None
        return DrawnSamples(families=families, kinds=kinds, split=split, style=style)

    return Benchmark(
        name=name,
        metrics=(main_metric, "exact_match"),
        splits=(*DRAWN_SPLITS, "wild") if set(families) <= set(WILD) else DRAWN_SPLITS,
        read=read,
        styles=tuple(STYLES),
        style="full",
        questions=DRAWN_QUESTIONS,
        corpus_metrics=corpus_metrics,
    )


BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            _drawn("entitygrid", ("entity_grid",), "token_f1"),
            _drawn("chartpage", ("chart_page",), "relaxed_accuracy", corpus_metrics=("cider",)),
            _drawn("docpage", ("doc_page",), "anls"),
            _drawn("captionpage", tuple(FAMILIES), "token_f1", kinds=CAPTIONS, corpus_metrics=("cider",)),
            *REAL_BENCHMARKS,
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
