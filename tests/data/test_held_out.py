"""Records that are held out: of every source, with all that shares an image, and none of them left to train on."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.data.held_out import choose_held_out, hold_out
from llava.data.records import Record, RecordStore

TURNS = (("user", "<image>\nWhy?"), ("assistant", "So."))


class Records(RecordStore):
    """Without images."""

    def load_images(self, record, count):
        return []

    def missing_images(self, record, count):
        return []


def records(images: list[int], source: str = "forms", bad: frozenset[int] = frozenset()) -> list[Record]:
    return [
        Record(id=f"{source}/{number}", source=source, bad="torn")
        if number in bad
        else Record(id=f"{source}/{number}", source=source, turns=TURNS, images=(f"{image}.png",))
        for number, image in enumerate(images)
    ]


@given(
    images=st.lists(st.integers(0, 30), min_size=23, max_size=61),
    bad=st.frozensets(st.integers(0, 22), max_size=3),
    count=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_no_image_is_on_both_sides(images: list[int], bad: frozenset[int], count: int, seed: int) -> None:
    given = [*records(images, "forms", bad), *records(list(range(17)), "charts")]
    try:
        held = choose_held_out(given, count, seed=seed)
    except ValueError as error:
        assert "would take" in str(error)  # noqa: PT017 (chance makes few images of many records)
        return
    assert held == sorted(set(held))
    assert all(given[place].bad is None for place in held)
    by_source = Counter(given[place].source for place in held)
    assert by_source["charts"] == count
    assert by_source["forms"] >= count
    shown = {(given[place].source, given[place].images) for place in held}
    rest = [record for place, record in enumerate(given) if place not in held and record.bad is None]
    assert shown.isdisjoint((record.source, record.images) for record in rest)
    assert held == choose_held_out(given, count, seed=seed)


def test_records_of_several_images_go_with_all_that_share_one() -> None:
    images = [(0, 1), (1, 2), (2,), (3,), (4, 5), (5,), (6,), (7,), (8,), (9,), (10,), (11,)]
    given = [
        Record(id=f"forms/{number}", source="forms", turns=TURNS, images=tuple(f"{image}.png" for image in shown))
        for number, shown in enumerate(images)
    ]
    met = set()
    for seed in range(20):
        held = set(choose_held_out(given, 2, seed=seed))
        for together in ({0, 1, 2}, {4, 5}):
            assert held & together in (set(), together)
            met |= held & together
    assert met == {0, 1, 2, 4, 5}


def test_another_seed_holds_out_others() -> None:
    given = records(list(range(41)))
    assert len({tuple(choose_held_out(given, 3, seed=seed)) for seed in range(5)}) > 1


def test_more_than_half_of_a_source_is_refused() -> None:
    assert len(choose_held_out(records([0, 1, 2, 3]), 2, seed=0)) == 2
    with pytest.raises(ValueError, match="held_out: 3 would take 3 of the 4 usable records of forms"):
        choose_held_out(records([0, 1, 2, 3]), 3, seed=0)
    with pytest.raises(ValueError, match="held_out: 1 would take 4 of the 4 usable"):
        choose_held_out(records([7, 7, 7, 7]), 1, seed=0)


def test_both_stores_hold_what_they_should_and_the_digest_tells() -> None:
    given = [*records(list(range(11))), *records(list(range(7)), "charts", frozenset({2}))]
    store = Records(given)
    rest, held = hold_out(store, 2, seed=5)
    assert held is not None
    places = choose_held_out(given, 2, seed=5)
    assert list(held) == [given[place] for place in places]
    assert list(rest) == [record for place, record in enumerate(given) if place not in places]
    assert list(rest.num_answers) == [0 if record.bad else 1 for record in rest]
    assert list(store) == given
    assert len({store.digest(), rest.digest(), held.digest()}) == 3
    assert hold_out(store, 0, seed=5) == (store, None)
