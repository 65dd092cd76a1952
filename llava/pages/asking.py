"""From what a family can ask to the questions of a page."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from llava.pages.chance import happens, pick
from llava.pages.page import Box, PageQuestion
from llava.pages.phrasing import mistype, put
from llava.pages.style import PageStyle

Maker = Callable[[str], PageQuestion | None]
"""Draws one question of the kind it is called with; None where this draw has no single right answer."""

_ATTEMPTS = 5


class Asker:
    """Puts questions in the words of a style's look."""

    def __init__(self, rng: np.random.Generator, style: PageStyle) -> None:
        self.rng = rng
        self.style = style

    def ask(
        self, kind: str, answer: str, answer_boxes: Sequence[Box], evidence: Sequence[Box] = (), **parts: str
    ) -> PageQuestion:
        """A question in one of the wordings of its kind; ``parts`` fill the template."""
        style, rng = self.style, self.rng
        free = style.free_wordings > 0 and happens(rng, style.free_wordings)
        words = (put(rng, kind) if free else pick(rng, style.look.wordings[kind])).format(**parts)
        if not free or happens(rng, 0.85):
            words = words[0].upper() + words[1:]
        if style.slips and happens(rng, style.slips):
            words = mistype(rng, words, tuple(parts.values()))
        return PageQuestion(
            kind=kind,
            question=words,
            answer=answer,
            answer_boxes=tuple(answer_boxes),
            evidence=tuple(evidence),
        )

    def describe(self, kind: str, parts: Sequence[str]) -> PageQuestion:
        """What the page shows: its parts, each once, in order."""
        *others, last = dict.fromkeys(parts)
        return self.ask(kind, f"{', '.join(others)} and {last}" if others else last, [])

    def collect(self, makers: Mapping[str, Maker]) -> tuple[PageQuestion, ...]:
        """Up to ``style.num_questions`` different questions, the kinds taken in turn in random order.

        Returns none when no allowed kind has a question with a single answer on this page.
        """
        allowed = self.style.kinds
        kinds = [kind for kind in makers if allowed is None or kind in allowed]
        turns = [kinds[index] for index in self.rng.permutation(len(kinds))]
        found: dict[object, PageQuestion] = {}
        for _ in range(_ATTEMPTS):
            for kind in turns:
                if len(found) == self.style.num_questions:
                    return tuple(found.values())
                question = makers[kind](kind)
                if question is not None:
                    found.setdefault((kind, question.answer_boxes, question.evidence), question)
        return tuple(found.values())
