"""Words read off rows of slots, as a tower's reading heads name them, and how many are right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llava.data.print_targets import NONE, NOTHING, place_characters
from llava.metrics.match import edit_distance
from llava.pages.characters import CHARACTERS
from llava.pages.print import Print

_LEAST = 0.5
"""A character of which less is seen, in slots, is not there."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How print was read."""

    words: int
    right: int
    """Words of which every character is right."""
    characters: int
    distance: int
    """Characters to insert, leave out or change, over all words."""

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(**{name: value + vars(other)[name] for name, value in vars(self).items()})


def read_slots(probabilities: NDArray[np.float32]) -> str:
    """The text of a row of slots (slots, classes): neighboring slots that show one character share it out.

    A character near the border of two slots is half in each, so what counts is how much of it stands side by side.
    """
    best = probabilities[:, :NOTHING].argmax(1)
    most = probabilities[np.arange(len(best)), best]
    text, start = "", 0
    for place in range(1, len(best) + 1):
        if place < len(best) and best[place] == best[start] and most[place] > 0.1 and most[place - 1] > 0.1:
            continue
        mass = float(most[start:place].sum())
        if mass >= _LEAST:
            text += CHARACTERS[best[start]] * max(1, round(mass))
        start = place
    return text


def read_print(probabilities: NDArray[np.float32], print_: Print, patch: int) -> list[tuple[str, str]]:
    """Every whole word of a picture and what was read in its place.

    Args:
        probabilities: (rows, columns, slots, classes) of the picture's patches.
    """
    rows, columns, slots, classes = probabilities.shape
    lines = probabilities.reshape(rows, columns * slots, classes)
    placed = place_characters(print_, columns * patch, rows * patch, patch)
    found = []
    for word in np.unique(print_.word):
        members = np.flatnonzero(print_.word == word)
        if not placed.whole[members].all() or not 0 <= placed.row[members[0]] < rows:
            continue
        text = "".join(CHARACTERS[code] for code in print_.classes[members])
        places = placed.place[members]
        start, stop = max(0, int(np.floor(places[0] - 0.5))), int(np.floor(places[-1] + 0.5)) + 1
        either = [row for row in (placed.row[members[0]], placed.either[members[0]]) if row != NONE and 0 <= row < rows]
        row = max(either, key=lambda row: 1 - lines[row, start:stop, NOTHING].mean())
        found.append((text, read_slots(lines[row, start:stop])))
    return found


def score_reading(found: list[tuple[str, str]]) -> Reading:
    """How many words were read right."""
    return Reading(
        words=len(found),
        right=sum(text == read for text, read in found),
        characters=sum(len(text) for text, _ in found),
        distance=sum(edit_distance(text, read) for text, read in found),
    )
