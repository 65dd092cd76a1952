"""DocVQA's metrics: how close an answer is to being spelled like a gold one, and whether it is."""

from collections.abc import Sequence

from llava.metrics.text import check_golds, plain

ANLS_THRESHOLD = 0.5


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction is one of the gold answers up to case and spaces, else 0.

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    return float(plain(prediction) in {plain(gold) for gold in golds})


def anls(prediction: str, golds: Sequence[str]) -> float:
    """The normalized Levenshtein similarity to the nearest gold answer, up to case and spaces; its mean is ANLS.

    Edits are divided by the length of the longer string. Answers that are half wrong or worse get 0, for a slip in
    reading should cost little and another answer everything (ST-VQA, arXiv 1905.13648; DocVQA, arXiv 2007.00398, both
    with the threshold 0.5, at which the score is already 0).

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    answer = plain(prediction)
    distance = min(_normalized_distance(answer, plain(gold)) for gold in golds)
    return 1.0 - distance if distance < ANLS_THRESHOLD else 0.0


def _normalized_distance(first: str, second: str) -> float:
    longer = max(len(first), len(second))
    return edit_distance(first, second) / longer if longer else 0.0


def edit_distance(first: str, second: str) -> int:
    """Fewest insertions, deletions and replacements of one character that turn one string into the other."""
    row = list(range(len(second) + 1))
    for count, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], count
        for index, right in enumerate(second, start=1):
            replaced = diagonal + (left != right)
            diagonal = row[index]
            row[index] = min(replaced, row[index] + 1, row[index - 1] + 1)
    return row[-1]
