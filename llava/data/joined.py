"""Several stores of records as one, and records that count more or less than once."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from PIL import Image

from llava.data.records import Record, RecordStore
from llava.seeds import stable_seed

Store = TypeVar("Store", bound=RecordStore)


class JoinedRecords(RecordStore):
    """The records of several stores, one store behind the other; each store's images stay where they are.

    Raises:
        ValueError: if a source is in two of them, so that nobody could tell whose images are whose.
    """

    def __init__(self, stores: Sequence[RecordStore]) -> None:
        self._of_source: dict[str, RecordStore] = {}
        for store in stores:
            for source in store.sources:
                if source in self._of_source:
                    raise ValueError(f"{source} is named twice; name it once, with a weight of 2")
                self._of_source[source] = store
        super().__init__(record for store in stores for record in store)

    def load_images(self, record: Record, count: int) -> list[Image.Image]:
        return self._of_source[record.source].load_images(record, count)

    def missing_images(self, record: Record, count: int) -> list[str]:
        return self._of_source[record.source].missing_images(record, count)


def weigh(records: Store, weights: Mapping[str, float], *, seed: int) -> Store:
    """The records of each source as often as its weight says: 2 all of them twice, 0.5 half of them, 1.5 all and half
    of them again. Sources without a weight stay as they are.

    Which half is drawn record by record from ``seed`` and the id, so that a smaller one is part of a larger.
    """
    if all(weight == 1 for weight in weights.values()):
        return records
    return records.take(_positions(records, weights, seed))


def _positions(records: RecordStore, weights: Mapping[str, float], seed: int) -> Iterator[int]:
    of_source: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for position, record in enumerate(records):
        of_source[record.source].append((stable_seed("weigh", seed, record.id), position))
    extra = set()
    for source, drawn in of_source.items():
        share = weights.get(source, 1.0) % 1
        extra |= {position for _, position in sorted(drawn)[: math.ceil(share * len(drawn))]}
    for position, record in enumerate(records):
        times = int(weights.get(record.source, 1.0)) + (position in extra)
        yield from [position] * times
