"""VQA accuracy: an answer is as right as people agree with it."""

import re
from collections.abc import Sequence

from llava.metrics.text import check_golds, plain

AGREEING = 3
"""An answer counts in full when so many of the other people gave it."""

_ARTICLES = frozenset(("a", "an", "the"))
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {"none": "0"} | {word: str(number) for number, word in enumerate(_COUNTED)}
# Left out are contractions that are words without their apostrophe, such as we're, she'll, I'd and it's.
_WITH_APOSTROPHE = """
    ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't
    shan't shouldn't wasn't weren't won't wouldn't i'm i've you're you've you'd you'll they're they've they'd they'll
    we've he's he'd she's could've might've must've should've would've it'd it'll that's that'd that'll there's there'd
    here's what's what'll what're where's when's who's who've who'd who'll how's why's somebody's someone's something's
    everyone's nobody's o'clock ma'am y'all
"""
_CONTRACTIONS = {word.replace("'", ""): word for word in _WITH_APOSTROPHE.split()}
_POINT = re.compile(r"\.(?![0-9])")
_DIGIT_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
_PUNCTUATION = re.compile(r"""[;/\[\]"{}()=+\\_\-><@`,?!]""")
"""Signs of money and percent are none: 5 is not $5."""


def vqa_accuracy(prediction: str, golds: Sequence[str]) -> float:
    """How many people agree with the prediction, over 3 and at most 1, averaged over leaving out each of the people.

    Of ten people, one who agrees gives 0.3, two 0.6, three 0.9 and four 1 (arXiv 1505.00468). Before comparing, both
    sides lose periods that are no decimal points, commas between digits, and articles; the other punctuation marks of
    the benchmark's list become spaces (not apostrophes, colons, or signs such as $, % and #); number words to ten
    become digits, and contractions get back a missing apostrophe. The rules are those published with the benchmark
    (visualqa.org/evaluation.html).

    Raises:
        ValueError: if ``golds`` is empty or not a list, or holds fewer than four answers: no prediction could then
            reach 1.
    """
    check_golds(golds)
    if len(golds) <= AGREEING:
        raise ValueError(
            f"VQA accuracy needs the answers of at least {AGREEING + 1} people, got {len(golds)}; "
            "use exact_match where there is one right answer"
        )
    answer = normalize_answer(prediction)
    agrees = [normalize_answer(gold) == answer for gold in golds]
    agreeing = sum(agrees)
    return sum(min(1.0, (agreeing - own) / AGREEING) for own in agrees) / len(agrees)


def normalize_answer(text: str) -> str:
    """The text as VQA accuracy compares it: lower case, digits for number words, no articles, little punctuation."""
    text = plain(text).replace("\u2019", "'")
    text = _PUNCTUATION.sub(" ", _POINT.sub("", _DIGIT_COMMA.sub("", text)))
    words = (_NUMBER_WORDS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
