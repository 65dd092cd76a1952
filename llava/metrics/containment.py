"""OCRBench's metric: whether an answer says the right thing somewhere."""

from collections.abc import Sequence

from llava.metrics.text import check_golds, plain


def contains(prediction: str, golds: Sequence[str]) -> float:
    """1 if a gold answer is part of the prediction, up to case and spaces, else 0.

    OCRBench's rule for words (arXiv 2305.07895, section 3, and its public script). Parts of words count, so that 42 is
    found in 142, and a long answer has more chances than a short one. A gold answer without characters, which is part
    of everything, is found in an empty prediction only.

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    return float(any(_is_part(plain(gold), plain(prediction)) for gold in golds))


def contains_formula(prediction: str, golds: Sequence[str]) -> float:
    """1 if a gold answer is part of the prediction, with case and without spaces, else 0.

    OCRBench's rule for formulas in LaTeX, where spaces between commands say nothing and case does.

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    return float(any(_is_part(_dense(gold), _dense(prediction)) for gold in golds))


def _is_part(gold: str, answer: str) -> bool:
    return gold in answer if gold else not answer


def _dense(text: str) -> str:
    return "".join(text.split())
