"""How good answers are: published metrics as pure functions on strings.

``METRICS`` holds those that judge one answer by itself, all as ``(prediction, golds) -> score in [0, 1]``. ``cider``
weighs words by how rare they are among all references, so it takes a whole corpus and gives one score per sample;
``CORPUS_METRICS`` holds it.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from llava.metrics.cider import cider
from llava.metrics.containment import contains, contains_formula
from llava.metrics.match import anls, exact_match
from llava.metrics.numeric import relaxed_accuracy
from llava.metrics.overlap import token_f1
from llava.metrics.vqa import vqa_accuracy

Metric = Callable[[str, Sequence[str]], float]

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "relaxed_accuracy": relaxed_accuracy,
        "anls": anls,
        "exact_match": exact_match,
        "token_f1": token_f1,
        "vqa_accuracy": vqa_accuracy,
        "contains": contains,
    }
)
"""ChartQA: relaxed accuracy. DocVQA: ANLS and exact match. EntityGridQA: token F1. TextVQA: VQA accuracy.
OCRBench: containment, with ``contains_formula`` in its place where the answer is a formula."""

CorpusMetric = Callable[[Sequence[str], Sequence[Sequence[str]]], list[float]]

CORPUS_METRICS: Mapping[str, CorpusMetric] = MappingProxyType({"cider": cider})
"""What judges answers only together: one score for each, from 0 up."""

__all__ = [
    "CORPUS_METRICS",
    "METRICS",
    "CorpusMetric",
    "Metric",
    "anls",
    "cider",
    "contains",
    "contains_formula",
    "exact_match",
    "relaxed_accuracy",
    "token_f1",
    "vqa_accuracy",
]
