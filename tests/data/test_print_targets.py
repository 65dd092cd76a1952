"""What patches are asked to read, against twins that go through characters and slots one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.data.print_targets import NOTHING, SLOTS, place_characters, print_targets
from llava.pages.characters import CHARACTERS, NONE
from llava.pages.print import Print
from tests.print_helpers import line_print

PATCH, ROWS, COLUMNS = 14, 5, 7
WIDTH, HEIGHT = COLUMNS * PATCH, ROWS * PATCH
ACROSS = COLUMNS * SLOTS
quick = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def prints(draw: st.DrawFn) -> Print:
    """Lines of letters of any width at any place, over the borders too, with some that have no name."""
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.sampled_from([5.0, 7.0, 11.5, 19.0]))
        advances = np.array(draw(st.lists(st.sampled_from([1.5, 3.0, 4.75, 8.0]), min_size=1, max_size=12)))
        x, base = draw(st.integers(-30, 2 * WIDTH)) / 2 + 0.13, draw(st.integers(-20, 2 * HEIGHT + 20)) / 2 + 0.07
        right = x + advances.cumsum()
        count = len(advances)
        lines.append(
            Print(
                classes=np.array(draw(st.lists(st.integers(NONE, 40), min_size=count, max_size=count))),
                left=right - advances,
                right=right,
                base=np.full(count, base),
                size=np.full(count, size),
                word=np.zeros(count, dtype=np.int64),
            )
        )
    return Print.join(lines)


def spread_slowly(places: list[float]) -> list[float]:
    """The least-squares places at least 1 apart: every mean of neighbors, the largest over beginnings of the smallest
    over ends (the min-max formula of isotonic regression)."""
    free = [place - number for number, place in enumerate(places)]
    count = len(free)
    return [
        number
        + max(
            min(float(np.mean(free[start : stop + 1])) for stop in range(number, count)) for start in range(number + 1)
        )
        for number in range(count)
    ]


def read_slowly(printed: Print) -> tuple[list[list[tuple[float, int]]], list[list[bool]]]:
    """By rows: what is named, with its place, in order; and whether each slot is asked."""
    found: list[list[tuple[float, int]]] = [[] for _ in range(ROWS)]
    characters = []
    for number in range(len(printed)):
        left, right, base, size = (float(getattr(printed, name)[number]) for name in ("left", "right", "base", "size"))
        top, foot = base - 0.78 * size, base + 0.22 * size
        row = int(np.floor((base - 0.3 * size) / PATCH))
        part = (base - 0.3 * size) / PATCH - row
        either = row - 1 if part < 0.17 else row + 1 if part > 0.83 else None
        inside = left >= -0.5 and right <= WIDTH + 0.5 and top >= -0.5 and foot <= HEIGHT + 0.5
        whole = inside and size >= 6 and int(printed.classes[number]) != NONE
        slots = range(int(np.floor(left * SLOTS / PATCH)) - 1, int(np.ceil(right * SLOTS / PATCH)) + 1)
        covered = range(int(np.floor(top / PATCH)), int(np.ceil(foot / PATCH)))
        characters.append((row, either, whole, slots, covered))
    for row in {own[0] for own in characters}:
        members = [number for number, own in enumerate(characters) if own[0] == row]
        middle = (printed.left + printed.right) / 2 * SLOTS / PATCH
        members.sort(key=lambda number: middle[number])
        places = spread_slowly([float(middle[number]) for number in members])
        for number, place in zip(members, places, strict=True):
            if characters[number][2] and 0 <= row < ROWS and 0 <= place < ACROSS:
                found[row].append((place, int(printed.classes[number])))
    asked = [[True] * ACROSS for _ in range(ROWS)]
    for row in range(ROWS):
        for slot in range(ACROSS):
            here = [own for own in characters if slot in own[3]]
            other = any(whole and either == row for _, either, whole, _, _ in here)
            own = any(whole and at == row for at, _, whole, _, _ in here)
            spoiled = any(not whole and row in covered for _, _, whole, _, covered in here)
            asked[row][slot] = not spoiled and (own or not other)
    return found, asked


@quick
@given(prints())
def test_targets_equal_the_slow_definition(printed):
    targets = print_targets(printed, WIDTH, HEIGHT, PATCH)
    found, asked = read_slowly(printed)
    assert targets.classes.shape == targets.places.shape == targets.asked.shape == (ROWS, ACROSS)
    np.testing.assert_array_equal(targets.asked, asked)
    for row, expected in enumerate(found):
        count = len(expected)
        assert targets.classes[row, :count].tolist() == [code for _, code in expected]
        assert targets.places[row, :count] == pytest.approx([place for place, _ in expected], abs=1e-4)
        assert (targets.classes[row, count:] == NONE).all()
        assert (targets.places[row, count:] == 0).all()


@quick
@given(prints())
def test_places_of_a_row_ascend_by_a_slot_at_least(printed):
    placed = place_characters(printed, WIDTH, HEIGHT, PATCH)
    for row in np.unique(placed.row):
        places = np.sort(placed.place[placed.row == row])
        assert (np.diff(places) >= 1 - 1e-9).all()


@quick
@given(across=st.integers(1, 13), down=st.integers(1, 13), fine=st.integers(0, 7))
def test_print_that_is_moved_by_some_pixels_reads_the_same_so_much_further(across, down, fine):
    """Two lines more than a patch apart, so that they never share a row; all of it stays on the picture."""
    lines = [line_print("oh MY", x=5.3, base=17.5 + fine, size=11, advance=6.1)]
    lines += [line_print("if", x=31.7, base=40.5 + fine, size=11, advance=2.9)]
    printed = Print.join(lines)
    before, after = (print_targets(each, WIDTH, HEIGHT, PATCH) for each in (printed, printed.shifted(across, down)))

    def text(targets):
        return ["".join(CHARACTERS[code] for code in row if code != NONE) for row in targets.classes]

    assert [row for row in text(before) if row] == [row for row in text(after) if row] == ["ohMY", "if"]
    first = (line_print("o", x=5.3, base=17.5 + fine, size=11, advance=1).middle[0, 1] + down) // PATCH
    assert text(after)[int(first)] == "ohMY"
    placed, moved = (place_characters(each, WIDTH, HEIGHT, PATCH) for each in (printed, printed.shifted(across, down)))
    assert moved.place == pytest.approx(placed.place + across * SLOTS / PATCH)
    assert moved.whole.all()
    assert moved.row.tolist() == np.floor((printed.middle[:, 1] + down) / PATCH).tolist()


@quick
@given(prints(), st.integers(0, 2), st.integers(0, 3))
def test_print_that_is_moved_by_whole_patches_is_asked_so_many_patches_further(printed, down, across):
    """On a picture that grows with it, everything is the same but for what the borders cut."""
    inner = printed.within(0, 0, WIDTH, HEIGHT)
    whole = place_characters(inner, WIDTH, HEIGHT, PATCH).whole
    kept = Print(**{name: value[whole] for name, value in vars(inner).items()})
    before = print_targets(kept, WIDTH, HEIGHT, PATCH)
    after = print_targets(
        kept.shifted(across * PATCH, down * PATCH), WIDTH + across * PATCH, HEIGHT + down * PATCH, PATCH
    )
    assert (before.classes == after.classes[down:, :ACROSS]).all()
    real = before.classes != NONE
    assert after.places[down:, :ACROSS][real] == pytest.approx(before.places[real] + across * SLOTS, abs=1e-4)
    inside = after.asked[down:, across * SLOTS :]
    # One slot on the left was outside before.
    assert (inside == before.asked).all()


class TestPlanted:
    def test_a_letter_in_the_middle_of_a_patch(self):
        """Of 3.5 pixels a slot, its middle lies in the third slot of the patch in row 1, column 2."""
        printed = line_print("A", x=2 * PATCH + 7, base=1.5 * PATCH + 3.3, size=11, advance=3.5)
        targets = print_targets(printed, WIDTH, HEIGHT, PATCH)
        assert targets.classes[1, 0] == CHARACTERS.index("A")
        assert targets.places[1, 0] == pytest.approx(2 * SLOTS + 2.5)
        assert (targets.classes != NONE).sum() == 1
        assert targets.asked.all()

    @pytest.mark.parametrize(("above", "left_out"), [(1.0, 1), (2.6, None), (-1.0, 0), (-2.6, None)])
    def test_a_line_near_the_border_of_two_rows_is_asked_once(self, above, left_out):
        """``above``: pixels from the row's border, downward."""
        printed = line_print("A", x=30, base=PATCH - above + 3.3, size=11, advance=7)
        targets = print_targets(printed, WIDTH, HEIGHT, PATCH)
        assert targets.classes[int(above < 0), 0] == CHARACTERS.index("A")
        assert [row for row in range(ROWS) if not targets.asked[row].all()] == [] if left_out is None else [left_out]

    @pytest.mark.parametrize(
        "printed",
        [
            line_print("A", x=30, base=30, size=5.9, advance=5),
            line_print("A", x=-0.6, base=30, size=11, advance=5),
            line_print("A", x=WIDTH - 4.4, base=30, size=11, advance=5),
            line_print("A", x=30, base=8, size=11, advance=5),
            line_print("A", x=30, base=HEIGHT - 1.8, size=11, advance=5),
            line_print("A", x=30, base=30, size=11, advance=5).__class__(
                **{**vars(line_print("A", x=30, base=30, size=11, advance=5)), "classes": np.array([NONE])}
            ),
        ],
        ids=["small", "left", "right", "top", "foot", "nameless"],
    )
    def test_what_cannot_be_read_is_not_asked(self, printed):
        targets = print_targets(printed, WIDTH, HEIGHT, PATCH)
        assert (targets.classes == NONE).all()
        assert not targets.asked.all()
        x, y = printed.middle[0]
        assert not targets.asked[min(int(y // PATCH), ROWS - 1), min(max(0, int(x * SLOTS // PATCH)), ACROSS - 1)]

    def test_narrow_letters_move_apart(self):
        """Three of 2 pixels share 6 pixels, less than two slots: they take three, around the same middle."""
        printed = line_print("ill", x=30, base=30, size=11, advance=2)
        placed = place_characters(printed, WIDTH, HEIGHT, PATCH)
        assert placed.place == pytest.approx(33 * SLOTS / PATCH + np.array([-1, 0, 1]))

    def test_an_empty_picture_is_asked_everywhere_and_shows_nothing(self):
        targets = print_targets(Print.join([]), WIDTH, HEIGHT, PATCH)
        assert targets.asked.all()
        assert (targets.classes == NONE).all()
        assert len(CHARACTERS) == NOTHING
