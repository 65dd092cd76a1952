"""Whether answers are right as often as their confidence says."""

from collections.abc import Sequence

import numpy as np

BINS = 10


def expected_calibration_error(confidences: Sequence[float], scores: Sequence[float], *, bins: int = BINS) -> float:
    """How far confidence is from the share of right answers, from 0 to 1.

    Answers are sorted into ``bins`` equally wide intervals of confidence; the error is the mean of the gaps between
    mean confidence and mean score in them, weighted by how many answers each holds (Guo and others, On Calibration of
    Modern Neural Networks, arXiv 1706.04599).

    Args:
        confidences: from 0 to 1.
        scores: from 0 to 1, as exact match gives them.

    Raises:
        ValueError: if there are no answers, the two differ in number, or one lies outside of 0 to 1.
    """
    sure, right = _checked(confidences, scores)
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(sure))


def mostly_wrong_below(confidences: Sequence[float], scores: Sequence[float]) -> float:
    """The highest confidence below which fewer than half of the answers are right, from 0 to 1.

    0 where even the least sure answers are right more often than not, 1 where nearly all are wrong.

    Args:
        confidences: from 0 to 1.
        scores: from 0 to 1, as exact match gives them.

    Raises:
        ValueError: as ``expected_calibration_error``.
    """
    sure, right = _checked(confidences, scores)
    order = np.argsort(sure, kind="stable")
    sure, right = sure[order], right[order]
    bounds = np.append(np.unique(sure), 1.0)
    # Of the answers below each bound: how many there are, and how many of them are right.
    counts = np.searchsorted(sure, bounds)
    rights = np.append(0.0, right.cumsum())[counts]
    return float(max((bound for bound, n, k in zip(bounds, counts, rights, strict=True) if n and k < n / 2), default=0))


def _checked(confidences: Sequence[float], scores: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    sure, right = np.asarray(confidences, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if sure.shape != right.shape or sure.ndim != 1 or not sure.size:
        raise ValueError(f"each answer needs a confidence and a score, got {sure.shape} and {right.shape}")
    # Not the other way round, since numbers that are no numbers lie nowhere.
    if not all(((values >= 0) & (values <= 1)).all() for values in (sure, right)):
        raise ValueError("confidences and scores lie from 0 to 1")
    return sure, right
