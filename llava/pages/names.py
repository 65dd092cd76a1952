"""Names for charts in an open vocabulary: what is counted, and over what."""

from collections.abc import Collection

import numpy as np

from llava.pages import vocabulary as v
from llava.pages.chance import between, happens
from llava.pages.lexicon import MONTHS, Lexicon

_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_QUARTERS = ("Q1", "Q2", "Q3", "Q4")


def open_lexicon(rng: np.random.Generator) -> Lexicon:
    """The words of one page's charts: calendars as everybody knows them, and names that no list holds."""
    first = between(rng, 1960, 2040)
    years = tuple(str(year) for year in range(first, first + 12))
    # A series and a category of one name could not be told apart.
    series = _names(rng, v.cased_word, 6, but=(*MONTHS, *_WEEK))
    return Lexicon(
        items=(),
        fields={},
        columns={},
        facts={},
        series=series,
        shares=(_names(rng, v.cased_word, 8), _names(rng, v.town, 8), _names(rng, v.company, 8)),
        categories=(
            MONTHS,
            years,
            _QUARTERS,
            _WEEK,
            _names(rng, v.town, 14, but=series),
            _names(rng, v.cased_word, 14, but=series),
            _names(rng, v.first_name, 14, but=series),
        ),
        steps=(1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000),
    )


def title(rng: np.random.Generator) -> str:
    """What a chart may be called."""
    words = [v.word(rng) for _ in range(between(rng, 1, 3))]
    text = " ".join(words).capitalize()
    return f"{text} {between(rng, 1990, 2030)}" if happens(rng, 0.2) else text


def _names(rng: np.random.Generator, write: v.Writer, count: int, but: Collection[str] = ()) -> tuple[str, ...]:
    """Short names first: there is little room below an axis."""
    found = {name.lower(): name[0].upper() + name[1:] for name in (write(rng) for _ in range(3 * count))}
    for name in but:
        found.pop(name.lower(), None)
    return tuple(sorted(sorted(found.values(), key=len)[:count], key=str.lower))
