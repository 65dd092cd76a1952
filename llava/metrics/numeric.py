"""ChartQA's relaxed accuracy: numbers read off a chart may be a little off, words and years may not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from llava.metrics.text import check_golds, plain

TOLERANCE = Fraction(1, 20)
FIRST_YEAR, LAST_YEAR = 1800, 2100

_NUMBER = re.compile(
    r"(?P<sign>[-\u2212+]?)(?P<digits>(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?) ?(?P<unit>%?)"
)


@dataclass(frozen=True, kw_only=True)
class _Number:
    value: Fraction
    percent: bool


def relaxed_accuracy(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction is within 5 % of a gold number, or equals a gold text up to case and spaces, else 0.

    The rule of PlotQA (arXiv 1909.00997) and ChartQA (arXiv 2203.10244, section 5). What they leave open is settled so:

    - A number may have a sign, commas between groups of three digits, decimals and a percent sign; what is not wholly
      a number is text. Decimals are compared exactly, so the limit itself is allowed: 1.05 for 1.
    - A percent sign on one side only may mean the unit or a hundredth: 50 and 0.5 both match 50%.
    - A gold answer of four bare digits from 1800 to 2100 is taken for a year, and years match exactly: 5 % of a year
      is a century, which makes every year on an axis right. A count in that range is then held to the digit, the
      smaller harm. ChartQA's public scripts do not do this, and so give more credit to wrong years.
    - 5 % of zero is zero.

    Raises:
        ValueError: if ``golds`` is empty or not a list.
    """
    check_golds(golds)
    return float(any(_matches(prediction, gold) for gold in golds))


def _matches(prediction: str, gold: str) -> bool:
    answer, target = _parse(prediction), _parse(gold)
    if answer is None or target is None:
        return plain(prediction) == plain(gold)
    if _is_year(gold):
        return answer == target
    tolerance = abs(target.value) * TOLERANCE
    if answer.percent == target.percent:
        return abs(answer.value - target.value) <= tolerance
    hundredth = answer.value / 100 if answer.percent else answer.value * 100
    return any(abs(value - target.value) <= tolerance for value in (answer.value, hundredth))


def _parse(text: str) -> _Number | None:
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not found["digits"].strip("."):
        return None
    value = Fraction(found["digits"].replace(",", "").rstrip("."))
    return _Number(value=-value if found["sign"] in ("-", "\u2212") else value, percent=bool(found["unit"]))


def _is_year(gold: str) -> bool:
    text = gold.strip()
    return bool(re.fullmatch("[0-9]{4}", text)) and FIRST_YEAR <= int(text) <= LAST_YEAR
