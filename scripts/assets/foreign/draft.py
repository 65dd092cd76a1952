"""What is to stand on a page and what is asked about it, before any program has drawn it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.assets.foreign.words import Words

ABSENT = "not on the page"
"""The answer to a question about what a page does not show."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A question with its answer, and where to look for it on the finished page."""

    kind: str
    question: str
    answer: str
    """As it stands on the page, if it is printed there."""
    beside: tuple[str, ...] = ()
    """What the question names, as it stands on the page; of an absent one, words that must not stand there."""
    also: tuple[str, ...] = ()
    """Other right answers."""
    printed: bool = True


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The content of one page; its source is a template filled with ``words``, or a function that draws it."""

    words: Mapping[str, Any] = field(default_factory=dict)
    asks: tuple[Ask, ...]
    draw: Callable[[], bytes] | None = None
    """Gives the PDF; None where a template does."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One design of a page, of which several are drawn."""

    name: str
    program: str
    split: str
    write: Callable[[Words], Draft]
    pages: int = 2
    template: str = ""
    """The file in ``templates/``; none where the draft draws itself."""


def field_ask(question: str, answer: str, *beside: str, kind: str = "field", also: tuple[str, ...] = ()) -> Ask:
    """A question about what stands beside a label."""
    return Ask(kind=kind, question=question, answer=answer, beside=beside, also=also)


def cell_ask(question: str, answer: str, row: str, column: str, also: tuple[str, ...] = ()) -> Ask:
    """A question about what stands in a row and a column of a table."""
    return Ask(kind="cell", question=question, answer=answer, beside=(row, column), also=also)


def absent_ask(question: str, *words: str) -> Ask:
    """A question that the page does not answer: none of the words stands there."""
    return Ask(kind="absent", question=question, answer=ABSENT, beside=words, printed=False)
