"""Pages drawn once for several tests, and templates read backward: from a question to what it names."""

import re
from functools import cache

from llava.pages import Box, Mark, Page, PageQuestion, PageStream
from llava.pages.looks import SHIFTED_LOOK, TRAIN_LOOK

CASES = [(style, split) for style in ("shapes", "typed", "full") for split in ("train", "shifted")]


@cache
def pages(family: str, style: str, split: str) -> list[Page]:
    stream = PageStream(family, split, seed=3, style=style)
    return [stream[index] for index in range(10 if style == "full" else 25)]


def parts_of(question: PageQuestion) -> dict[str, str]:
    """What stands in the gaps of the template that the question was made from."""
    gaps = {
        "where": "(?: in the chart \\w+)?",
        "scope": "(?: (?:in|for) \\w+)?",
        "side": "(?:(?:left|right) of|above|below)",
    }
    for look in (TRAIN_LOOK, SHIFTED_LOOK):
        for template in look.wordings[question.kind]:
            pieces = re.findall(r"([^{]+)|\{(\w+)\}", template)
            pattern = "".join(re.escape(text) or f"(?P<{name}>{gaps.get(name, '.+?')})" for text, name in pieces)
            found = re.fullmatch(pattern, question.question, re.IGNORECASE)
            if found:
                return found.groupdict()
    raise AssertionError(f"no template gives {question.question!r}")


def center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def mark_at(page: Page, box: Box) -> Mark:
    (mark,) = {mark for mark in page.marks if mark.box == box}
    return mark
