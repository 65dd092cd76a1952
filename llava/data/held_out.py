"""Records that a run does not train on, so that it can be asked about its user's own data."""

from collections import defaultdict
from collections.abc import Sequence

from llava.data.records import Record, RecordStore
from llava.seeds import stable_seed


def choose_held_out(records: Sequence[Record], count: int, *, seed: int) -> list[int]:
    """Positions of at least ``count`` usable records of each source, ascending.

    Images are chosen, by chance, and all records of a chosen one, with what shares another image with these: a model
    that has learned a page would be asked about it otherwise. Copies of an image under different names are two images.

    Raises:
        ValueError: if that would be more than half of a source.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for position, record in enumerate(records):
        if record.bad is None:
            places[record.source].append(position)
    held: list[int] = []
    for source, usable_places in places.items():
        usable = len(usable_places)
        by_image = _together(records, usable_places)
        chosen: list[int] = []
        for about in sorted(by_image, key=lambda name: stable_seed("held out", seed, source, name)):
            if len(chosen) >= count:
                break
            chosen += by_image[about]
        if 2 * len(chosen) > usable:
            raise ValueError(
                f"held_out: {count} would take {len(chosen)} of the {usable} usable records of {source}, as those that "
                "share an image go together; lower it, or give more data"
            )
        held += chosen
    return sorted(held)


def _together(records: Sequence[Record], places: Sequence[int]) -> dict[str, list[int]]:
    """The places of records that share images, directly or through others, by the first name among them."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    names = {place: records[place].images or (records[place].id,) for place in places}
    for first, *others in names.values():
        for other in others:
            parent[root(other)] = root(first)
    groups: dict[str, list[int]] = defaultdict(list)
    for place in places:
        groups[root(names[place][0])].append(place)
    return groups


def hold_out(records: RecordStore, count: int, *, seed: int) -> tuple[RecordStore, RecordStore | None]:
    """What is left to train on, and what is held out; None where nothing is to be.

    Raises:
        ValueError: as ``choose_held_out``.
    """
    if not count:
        return records, None
    held = choose_held_out(records, count, seed=seed)
    apart = set(held)
    return records.take(place for place in range(len(records)) if place not in apart), records.take(held)
