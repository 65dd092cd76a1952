"""What the files of records tell before anything is trained on them: images that are missing, and counts by source."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.data.records import Record, RecordStore

LOOK_FOR = 100_000
"""Records whose images are looked for; of larger sets a sample."""
_THREADS = 32
"""Looking for a file on a network takes a millisecond, in which nothing is computed."""
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class SourceCheck:
    """What one source of a mixture holds."""

    name: str
    records: int
    samples: int
    faults: Mapping[str, int]
    """Samples that cannot be used, by kind."""
    images: int
    """That its records name."""
    looked_for: int
    missing: int
    """Of those that were looked for."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What ``ConversationDataset.check`` found."""

    num_samples: int
    """Good and bad ones; a bad record counts as one."""
    num_bad: int
    faults: Mapping[str, int]
    """Bad samples by kind: ``bad record``, ``missing image``, ``no question``, ``too long``."""
    examples: tuple[str, ...]
    """The first bad samples with their reasons."""
    sources: tuple[SourceCheck, ...] = ()
    first_missing: str | None = None
    """The first image that is not there."""

    def refuse_above(self, share: float) -> None:
        """Refuse data of which a larger share of the images is missing.

        Raises:
            ValueError: with the counts of every source.
        """
        looked = sum(each.looked_for for each in self.sources)
        missing = sum(each.missing for each in self.sources)
        if not missing or missing <= share * looked:
            return
        counts = ", ".join(f"{each.name} {each.missing} of {each.looked_for}" for each in self.sources if each.missing)
        raise ValueError(
            f"{missing} of the {looked} images that were looked for are missing ({counts}), more than "
            f"max_missing_images: {share:g} allows; the first is {self.first_missing}; check the folder of the images, "
            "fetch the rest, or raise max_missing_images"
        )

    def __str__(self) -> str:
        counts = ", ".join(f"{kind}: {count}" for kind, count in self.faults.items())
        return f"{self.num_bad} of {self.num_samples} samples cannot be used" + (f" ({counts})" if counts else "")


@dataclass(frozen=True, kw_only=True)
class LookedFor:
    """Which images of some records are there."""

    records: Mapping[str, int]
    """By source, as all counts here."""
    named: Mapping[str, int]
    """Images, of all records."""
    looked_for: Mapping[str, int]
    missing: Mapping[str, int]
    first_missing: Mapping[int, tuple[str | None, ...]]
    """By the numbers of records that lack one: per turn the first image that is missing, None for none."""

    def missing_in_turn(self, record: int, turn: int) -> str | None:
        """The first image that a turn needs and that is not there."""
        return self.first_missing[record][turn] if record in self.first_missing else None


def look_for_images(records: RecordStore) -> LookedFor:
    """Look for the images of all records, or of a sample of very many, some at a time."""
    count = len(records)
    chosen = set(np.random.default_rng(0).choice(count, LOOK_FOR, replace=False).tolist()) if count > LOOK_FOR else None
    total, named, looked_for, missing = (Counter[str]() for _ in range(4))
    first_missing: dict[int, tuple[str | None, ...]] = {}

    def batches() -> Iterator[list[tuple[int, Record]]]:
        numbered = iter(enumerate(records))
        while batch := list(islice(numbered, _AT_ONCE)):
            for _, record in batch:
                total[record.source] += 1
                named[record.source] += len(record.images)
            yield [(number, record) for number, record in batch if chosen is None or number in chosen]

    def look(batch: list[tuple[int, Record]]) -> list[tuple[int, Record, int, tuple[str | None, ...]]]:
        return [(number, record, *_look_for(records, record)) for number, record in batch if record.images]

    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(look, batches()):
            for number, record, lost, turns in found:
                looked_for[record.source] += len(record.images)
                missing[record.source] += lost
                if lost:
                    first_missing[number] = turns
    return LookedFor(records=total, named=named, looked_for=looked_for, missing=missing, first_missing=first_missing)


def _look_for(records: RecordStore, record: Record) -> tuple[int, tuple[str | None, ...]]:
    missing = records.missing_images(record, len(record.images))
    if not missing:
        return 0, ()
    turns = range(max(1, len(record.turns) // 2))
    needed = (records.missing_images(record, count_placeholders(record, turn)) for turn in turns)
    return len(missing), tuple(each[0] if each else None for each in needed)


def count_placeholders(record: Record, turn: int) -> int:
    """Images that a turn and its history show."""
    return sum(text.count(DEFAULT_IMAGE_TOKEN) for _, text in record.turns[: 2 * turn + 2])


@dataclass(kw_only=True)
class Checked:
    """Counts that a check collects."""

    num_samples: int
    looked: LookedFor
    samples: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Counter[str]] = field(default_factory=dict)

    def note(self, source: str, fault: str | None = None) -> None:
        """Count one sample of a source, with its fault if it has one."""
        self.samples[source] += 1
        kinds = self.faults.setdefault(source, Counter())
        if fault is not None:
            kinds[fault] += 1

    def report(self, unusable: Mapping[int, str], num_examples: int) -> CheckReport:
        """All counts, and the first of the samples that cannot be used."""
        faults = sum(self.faults.values(), Counter[str]())
        return CheckReport(
            num_samples=self.num_samples,
            num_bad=faults.total(),
            faults=dict(faults),
            examples=tuple(islice(unusable.values(), num_examples)),
            first_missing=next(
                (image for images in self.looked.first_missing.values() for image in images if image is not None), None
            ),
            sources=tuple(
                SourceCheck(
                    name=name,
                    records=self.looked.records[name],
                    samples=self.samples[name],
                    faults=dict(self.faults[name]),
                    images=self.looked.named[name],
                    looked_for=self.looked.looked_for[name],
                    missing=self.looked.missing[name],
                )
                for name in self.samples
            ),
        )
