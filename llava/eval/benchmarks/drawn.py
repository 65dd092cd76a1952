"""Benchmarks of drawn pages, without end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from llava.eval.benchmarks.benchmark import Benchmark, BenchmarkSample
from llava.eval.benchmarks.wild import WILD, drawers_of
from llava.pages import STYLES, Box, draw_page
from llava.pages.theme import named_interval
from llava.pages.wordings import DETAILS

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

    def __iter__(self) -> Iterator[BenchmarkSample]:
        style = replace(STYLES[self.style], kinds=self.kinds)
        for turn in count():
            number, family = turn // len(self.families), self.families[turn % len(self.families)]
            page = draw_page(family, self.split, PAGE_SEED, number, style, drawers=drawers_of(self.split))
            name = f"{family}-{self.style}-{self.split}-{PAGE_SEED}-{number}"
            for place, asked in enumerate(page.questions):
                yield BenchmarkSample(
                    id=f"{name}-{place}",
                    page=name,
                    kind=asked.kind,
                    question=asked.question,
                    golds=(asked.answer,),
                    image=page.image,
                    evidence=(*asked.answer_boxes, *asked.evidence),
                    traits={**page.traits, **place_traits(asked.answer_boxes)},
                )


def place_traits(boxes: Sequence[Box]) -> dict[str, str]:
    """Where in its patch the answer begins, across and down, if it stands in one box: in a view of 672 pixels."""
    if len(boxes) != 1:
        return {}
    x, y = (round(edge * _VIEW) % _PATCH for edge in boxes[0][:2])
    return {
        name: f"{named_interval(place, (4, 7, 11), ' px')} into a patch" for name, place in (("across", x), ("down", y))
    }


_VIEW, _PATCH = 672, 14


def drawn_benchmark(
    name: str,
    families: tuple[str, ...],
    main_metric: str,
    *,
    kinds: frozenset[str] = DETAILS,
    corpus_metrics: tuple[str, ...] = (),
) -> Benchmark:
    """A benchmark of the drawn pages of some families.

    Args:
        main_metric: what its tables show first, beside exact match.
        kinds: of the questions that are asked.
    """

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
