"""Whether a difference is more than luck: bootstrap intervals and a permutation test, by page.

Questions about one page share its layout, its print and its encoding, so they are right or wrong together. Pages are
what is drawn anew, or what changes sides, and never single questions.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_NUMBERS_AT_ONCE = 4_000_000
_ROUNDING = 1e-9
"""Sums that differ by a smaller share of the pages' total are equal: they add the same numbers in another order."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, and the bounds that hold the true value with the stated confidence."""

    estimate: float
    low: float
    high: float
    confidence: float


def bootstrap_mean(
    scores: ArrayLike,
    pages: Sequence[Hashable],
    *,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """The mean score over questions, with the percentile interval of a bootstrap over pages.

    Args:
        scores: one number per question.
        pages: the page of each question.

    Resampled pages bring all their questions, so pages with many weigh more, as they do in the mean (Efron &
    Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13). With few pages, say under 30, percentile
    intervals are a little too narrow.

    Raises:
        ValueError: if scores are not finite or pages do not pair up with them, there are fewer than two pages, or an
            option is out of range.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, as 0.95 does, got {confidence}")
    values = _checked_scores("scores", scores)
    sums, counts = _by_page(values, pages)
    means = np.concatenate(
        [sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1) for drawn in _draw_pages(len(sums), resamples, generator)]
    )
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(estimate=float(values.mean()), low=float(low), high=float(high), confidence=confidence)


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    pages: Sequence[Hashable],
    *,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """The mean of ``first`` less that of ``second`` on the same questions, with its interval as ``bootstrap_mean``.

    Both are resampled together, so what makes a page hard for both cancels.

    Raises:
        ValueError: as ``bootstrap_mean``, or if the two do not score equally many questions.
    """
    return bootstrap_mean(
        _differences(first, second), pages, generator=generator, resamples=resamples, confidence=confidence
    )


def sign_flip_test(
    first: ArrayLike,
    second: ArrayLike,
    pages: Sequence[Hashable],
    *,
    generator: np.random.Generator,
    permutations: int = 10_000,
) -> float:
    """The probability of a mean difference at least this large, either way, if the two were exchangeable on each page.

    A page's two sets of scores change sides together, which flips the sign of its difference (Fisher's randomization
    test; Good, Permutation Tests, 2000). All ways to flip are counted where they are no more than ``permutations``;
    otherwise that many are drawn, and the observed one is counted among them, so the p-value is never 0 (Phipson &
    Smyth 2010).

    Raises:
        ValueError: as ``bootstrap_difference``.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    sums, _ = _by_page(_differences(first, second), pages)
    threshold = abs(sums.sum()) - _ROUNDING * np.abs(sums).sum()
    num_pages = len(sums)
    exact = num_pages < 63 and 2**num_pages <= permutations
    hits = 0
    for size, start in _blocks(2**num_pages if exact else permutations, num_pages):
        if exact:
            flips = np.arange(start, start + size)[:, None] >> np.arange(num_pages) & 1
        else:
            flips = generator.integers(2, size=(size, num_pages))
        hits += int(np.count_nonzero(np.abs((1 - 2 * flips) @ sums) >= threshold))
    return hits / 2**num_pages if exact else (hits + 1) / (permutations + 1)


def _draw_pages(num_pages: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for size, _ in _blocks(resamples, num_pages):
        yield generator.integers(num_pages, size=(size, num_pages))


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Sizes and starts of blocks of rows that keep memory bounded however many pages there are."""
    step = max(1, _NUMBERS_AT_ONCE // columns)
    for start in range(0, rows, step):
        yield min(step, rows - start), start


def _by_page(values: Floats, pages: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sum and number of the values on each page."""
    if len(pages) != len(values):
        raise ValueError(f"{len(values)} scores need the page of each, got {len(pages)} pages")
    number: dict[Hashable, int] = {}
    index = [number.setdefault(page, len(number)) for page in pages]
    if len(number) < 2:
        raise ValueError(f"how much pages differ cannot be told from {len(number)} page; give at least 2")
    sums = np.bincount(index, weights=values).astype(np.float64)
    return sums, np.bincount(index).astype(np.float64)


def _differences(first: ArrayLike, second: ArrayLike) -> Floats:
    left, right = _checked_scores("first", first), _checked_scores("second", second)
    if len(left) != len(right):
        raise ValueError(f"first and second must score the same questions, got {len(left)} and {len(right)} scores")
    return left - right


def _checked_scores(name: str, scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{name} must be a list of finite numbers, one per question, got shape {values.shape}")
    return values


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing the mean of theirs.

    Raises:
        ValueError: if the two are not of the same length, or one is constant.
    """
    if len(first) != len(second):
        raise ValueError(f"both must have as many values, got {len(first)} and {len(second)}")
    ranks = []
    for values in (first, second):
        _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
        if len(counts) < 2:
            raise ValueError("a constant has no ranks to correlate; give values that differ")
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[place])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
