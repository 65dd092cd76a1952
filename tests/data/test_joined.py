"""Several stores as one, and weights."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llava.data.joined import JoinedRecords, weigh
from llava.data.records import Record
from tests.data.test_held_out import Records, records


class Colored(Records):
    """Whose images are all of one color."""

    def __init__(self, given: list[Record], color: str) -> None:
        super().__init__(given)
        self.color = color

    def load_images(self, record, count):
        return [Image.new("RGB", (3, 2), self.color)] * count

    def missing_images(self, record, count):
        return [f"{self.color}/{name}" for name in record.images[:count]]


def test_every_record_finds_its_own_store_also_in_a_part() -> None:
    red, blue = Colored(records(list(range(5)), "forms"), "red"), Colored(records([7, 8], "charts"), "blue")
    both = JoinedRecords([red, blue])
    assert list(both) == [*red, *blue]
    assert both.sources == ("forms", "charts")
    for record in both.take([6, 0, 5]):
        color = "red" if record.source == "forms" else "blue"
        assert both.load_images(record, 1)[0].getpixel((0, 0)) == Image.new("RGB", (1, 1), color).getpixel((0, 0))
        assert both.missing_images(record, 1) == [f"{color}/{record.images[0]}"]
    assert both.digest() != JoinedRecords([blue, red]).digest()


def test_a_source_in_two_stores_is_refused() -> None:
    with pytest.raises(ValueError, match="forms is named twice; name it once, with a weight"):
        JoinedRecords([Records(records([1])), Records(records([2]))])


@given(
    forms=st.integers(1, 29),
    charts=st.integers(1, 13),
    weight=st.floats(0.01, 4.0),
    seed=st.integers(0, 9),
)
def test_a_weight_says_how_often_records_come(forms: int, charts: int, weight: float, seed: int) -> None:
    store = Records([*records(list(range(forms))), *records(list(range(charts)), "charts")])
    found = weigh(store, {"forms": weight}, seed=seed)
    times = Counter(record.id for record in found)
    of_forms = [times[record.id] for record in store if record.source == "forms"]
    assert set(of_forms) <= {int(weight), int(weight) + 1}
    assert sum(of_forms) == int(weight) * forms + math.ceil(weight % 1 * forms)
    assert all(times[record.id] == 1 for record in store if record.source == "charts")
    assert list(found) == sorted(found, key=lambda record: [known.id for known in store].index(record.id))


def test_a_larger_share_holds_the_smaller_and_another_seed_is_another_choice() -> None:
    store = Records(records(list(range(41))))
    half, most = ({record.id for record in weigh(store, {"forms": weight}, seed=3)} for weight in (0.5, 0.9))
    assert half < most
    assert half != {record.id for record in weigh(store, {"forms": 0.5}, seed=4)}
    assert weigh(store, {"forms": 1.0}, seed=3) is store
