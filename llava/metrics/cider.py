"""CIDEr: how much of what references agree on, and other references do not say, an answer says too."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from llava.metrics.text import check_golds, plain

MAX_ORDER = 4
SIGMA = 6.0
"""Spread of the penalty for a difference in length, in words."""
SCALE = 10.0

Words = tuple[str, ...]
_TOKEN = re.compile(
    r"(?:(?<!\w)[-\u2212](?=[0-9]))?[0-9]+(?:[.,:][0-9]+)*\w*|\w+(?:['\u2019-]\w+)*|[^\w\s.,;:!?'\"`()\[\]{}\u2019-]"
)


def cider(predictions: Sequence[str], golds: Sequence[Sequence[str]]) -> list[float]:
    """The CIDEr-D of each sample, from 0 to 10; their mean is the corpus's score, often quoted times 100.

    For n from 1 to 4, the n-grams of prediction and reference, weighted by frequency and rarity, are compared by a
    cosine in which no n-gram counts more often than the reference has it; a difference in length is penalized, and the
    four are averaged, as are the references (arXiv 1411.5726, and the constants of coco-caption). Rarity is the
    logarithm of the share of samples that have the n-gram in a reference, so a score depends on its corpus, and an
    answer of one word, which has no longer n-grams, reaches 2.5 at most.

    Text is cut into lower-case words, numbers with their sign, decimals and separators, and single symbols such as
    ``%``; punctuation goes. That is close to the Penn Treebank's rules, which coco-caption needs Java for.

    Raises:
        ValueError: if there is not one list of references, holding at least one, for each prediction; or fewer than two
            samples, of which every n-gram would be equally common.
    """
    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} predictions need as many lists of golds, got {len(golds)}")
    if len(predictions) < 2:
        raise ValueError(f"CIDEr tells common from rare words by at least 2 samples, got {len(predictions)}")
    for sample_golds in golds:
        check_golds(sample_golds)
    references = [[_count_ngrams(_tokenize(gold)) for gold in sample_golds] for sample_golds in golds]
    frequencies = Counter(chain.from_iterable({ngram for gold in sample for ngram in gold} for sample in references))
    rarity = {ngram: math.log(len(golds) / count) for ngram, count in frequencies.items()}
    unseen = math.log(len(golds))
    scores = []
    for prediction, sample in zip(predictions, references, strict=True):
        given = _Weighted(_count_ngrams(_tokenize(prediction)), rarity, unseen)
        total = sum(given.similarity(_Weighted(gold, rarity, unseen)) for gold in sample)
        scores.append(SCALE * total / len(sample))
    return scores


class _Weighted:
    """A text as one vector of weighted n-grams for each n."""

    def __init__(self, counts: Counter[Words], rarity: dict[Words, float], unseen: float) -> None:
        self.vectors: list[dict[Words, float]] = [{} for _ in range(MAX_ORDER)]
        for ngram, count in counts.items():
            self.vectors[len(ngram) - 1][ngram] = count * rarity.get(ngram, unseen)
        self.norms = [math.sqrt(sum(weight**2 for weight in vector.values())) for vector in self.vectors]
        self.length = sum(count for ngram, count in counts.items() if len(ngram) == 1)

    def similarity(self, reference: "_Weighted") -> float:
        cosines = 0.0
        for own, other, own_norm, other_norm in zip(
            self.vectors, reference.vectors, self.norms, reference.norms, strict=True
        ):
            shared = sum(min(weight, other.get(ngram, 0.0)) * other.get(ngram, 0.0) for ngram, weight in own.items())
            cosines += shared / (own_norm * other_norm) if own_norm and other_norm else 0.0
        return cosines / MAX_ORDER * math.exp(-((self.length - reference.length) ** 2) / (2 * SIGMA**2))


def _tokenize(text: str) -> Words:
    return tuple(_TOKEN.findall(plain(text).replace("\u2212", "-")))


def _count_ngrams(words: Words) -> Counter[Words]:
    return Counter(
        words[start : start + order] for order in range(1, MAX_ORDER + 1) for start in range(len(words) - order + 1)
    )
