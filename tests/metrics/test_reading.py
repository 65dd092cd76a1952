"""Words read off slots: perfect slots give every word back, and each fault costs what it should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.data.print_targets import NOTHING, SLOTS, print_targets
from llava.metrics.reading import Reading, read_print, read_slots, score_reading
from llava.pages.characters import CHARACTERS, NONE
from llava.pages.print import Print
from tests.print_helpers import line_print

PATCH, ROWS, COLUMNS = 14, 5, 11
quick = settings(max_examples=40, deadline=None, derandomize=True)


def slots_of(*slots: str | dict[str, float]) -> np.ndarray:
    """(slots, classes): a character or "" in each, or several with their probabilities."""
    chances = np.zeros((len(slots), NOTHING + 1), dtype=np.float32)
    for place, shown in enumerate(slots):
        shares = shown if isinstance(shown, dict) else {shown: 1.0} if shown else {}
        for character, share in shares.items():
            chances[place, CHARACTERS.index(character)] = share
        chances[place, NOTHING] = 1 - chances[place].sum()
    return chances


class TestSlots:
    @pytest.mark.parametrize(
        ("slots", "text"),
        [
            (("t", "o"), "to"),
            (("", "t", "", "o", ""), "to"),
            (("l", "l"), "ll"),
            (("l", "", "l"), "ll"),
            # Half of one character on either side of a border is one.
            (({"m": 0.5}, {"m": 0.5}), "m"),
            (({"m": 0.45}, {"m": 0.45}, {"o": 0.9}), "mo"),
            (({"m": 0.9}, {"m": 0.6}), "mm"),
            (({"m": 0.9}, {"m": 0.05}), "m"),
            # Too little of one to be there.
            (({"m": 0.45}, "o"), "o"),
            (({"m": 0.3}, {"n": 0.3}), ""),
            (("", ""), ""),
            (({"a": 0.6, "b": 0.3},), "a"),
        ],
    )
    def test_neighbors_share_out_a_character(self, slots, text):
        assert read_slots(slots_of(*slots)) == text


def perfect(printed: Print) -> np.ndarray:
    """(rows, columns, slots, classes): every slot names what it is asked."""
    targets = print_targets(printed, COLUMNS * PATCH, ROWS * PATCH, PATCH)
    chances = np.zeros((ROWS, COLUMNS * SLOTS, NOTHING + 1), dtype=np.float32)
    chances[..., NOTHING] = 1
    rows, numbers = np.nonzero(targets.classes != NONE)
    slot = targets.places[rows, numbers].astype(int)
    chances[rows, slot, NOTHING] = 0
    chances[rows, slot, targets.classes[rows, numbers]] = 1
    return chances.reshape(ROWS, COLUMNS, SLOTS, -1)


@quick
@given(
    words=st.lists(st.text("abcxyz019.,", min_size=1, max_size=6), min_size=1, max_size=3),
    x=st.integers(0, 40),
    base=st.integers(15, 60),
    advance=st.sampled_from([4.1, 5.0, 7.3]),
)
def test_perfect_slots_give_every_whole_word(words, x, base, advance):
    printed = line_print("   ".join(words), x=x, base=base, size=11, advance=advance)
    found = read_print(perfect(printed), printed, PATCH)
    width = COLUMNS * PATCH + 0.5
    whole = [
        text
        for number, text in enumerate(printed.texts())
        if printed.right[printed.word == np.unique(printed.word)[number]].max() <= width
    ]
    assert found == [(word, word) for word in whole]


def test_the_row_that_shows_more_is_read_where_either_may_be():
    """The baseline lies so that the middles are 1 pixel above the border of rows 1 and 2."""
    printed = line_print("read", x=20, base=2 * PATCH - 1 + 3.3, size=11, advance=5)
    chances = perfect(printed)
    assert read_print(chances, printed, PATCH) == [("read", "read")]
    moved = np.roll(chances, 1, axis=0)
    assert read_print(moved, printed, PATCH) == [("read", "read")]
    assert read_print(np.roll(chances, 2, axis=0), printed, PATCH) == [("read", "")]


def test_words_are_read_apart_and_what_is_cut_is_not_asked():
    printed = Print.join(
        [
            line_print("to   be", x=20, base=25, size=11, advance=5),
            line_print("cut", x=-3, base=53, size=11, advance=5),
            line_print("tiny", x=60, base=53, size=5, advance=2),
        ]
    )
    assert read_print(perfect(printed), printed, PATCH) == [("to", "to"), ("be", "be")]
    nothing = np.zeros((ROWS, COLUMNS, SLOTS, NOTHING + 1), dtype=np.float32)
    nothing[..., NOTHING] = 1
    assert read_print(nothing, printed, PATCH) == [("to", ""), ("be", "")]


def test_the_score_counts_words_and_what_separates_them_from_the_truth():
    found = [("total", "total"), ("tax", "tex"), ("due", ""), ("12", "123")]
    score = score_reading(found)
    assert score == Reading(words=4, right=1, characters=13, distance=0 + 1 + 3 + 1)
    assert score + score_reading([("a", "a")]) == Reading(words=5, right=2, characters=14, distance=5)
    assert score_reading([]) == Reading(words=0, right=0, characters=0, distance=0)
