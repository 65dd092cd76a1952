"""What models are asked: named sets of questions about pages, each with the metrics that judge it.

Some draw their pages, without end; one has its pages with it; some read public data sets. Another one is one more entry
of ``BENCHMARKS``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from llava.eval.benchmarks.benchmark import Benchmark
from llava.eval.benchmarks.drawn import drawn_benchmark
from llava.eval.benchmarks.foreign import FOREIGN
from llava.eval.benchmarks.public import REAL_BENCHMARKS
from llava.pages import FAMILIES
from llava.pages.wordings import CAPTIONS

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            drawn_benchmark("entitygrid", ("entity_grid",), "token_f1"),
            drawn_benchmark("chartpage", ("chart_page",), "relaxed_accuracy", corpus_metrics=("cider",)),
            drawn_benchmark("docpage", ("doc_page",), "anls"),
            drawn_benchmark("captionpage", tuple(FAMILIES), "token_f1", kinds=CAPTIONS, corpus_metrics=("cider",)),
            FOREIGN,
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
