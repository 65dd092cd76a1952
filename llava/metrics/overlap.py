"""EntityGridQA's F1: how many of an answer's words are right."""

import re
from collections import Counter
from collections.abc import Sequence

from llava.metrics.text import check_golds, plain

_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_WORD = re.compile(r"(?:(?<!\w)[-\u2212](?=[0-9]))?\w+(?:[-'\u2019.]\w+)*")
_ARTICLES = ("a", "an", "the")


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over words, repeats counted, for the gold answer it is highest for.

    As SQuAD's (arXiv 1606.05250), with a normalization that fits labels and codes: case, spaces, commas within numbers,
    an article at the beginning, and punctuation at the edges of words are dropped. Kept are a minus sign, and what
    joins a word from within (3.5, FZ-2616). SQuAD drops every ``a`` and all punctuation, and would take row A for
    nothing and 3.5 for 35. Where an answer has no words, only the same text will do.

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    return max(_f1(prediction, gold) for gold in golds)


def _f1(prediction: str, gold: str) -> float:
    given, wanted = _words(prediction), _words(gold)
    if not given or not wanted:
        return float(plain(prediction) == plain(gold))
    shared = (Counter(given) & Counter(wanted)).total()
    return 2.0 * shared / (len(given) + len(wanted))


def _words(text: str) -> list[str]:
    words = _WORD.findall(_THOUSANDS.sub("", plain(text)).replace("\u2212", "-"))
    return words[1:] if len(words) > 1 and words[0] in _ARTICLES else words
