"""A benchmark in parts, answered by several processes or at different times, and put together again."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.eval.benchmarks.registry import find_benchmark
from llava.eval.results import AnswerRecord, ResultSet, check_same_settings, read_finished, read_provenance
from llava.eval.summary import write_summary


@dataclass(frozen=True)
class Shard:
    """One of some equal runs of questions, counted from 1.

    Raises:
        ValueError: if there is no such shard.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"there is no shard {self}; the first of four is 1/4, the last 4/4")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard written as ``2/8``.

        Raises:
            ValueError: if it is not written so, or there is none.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None:
            raise ValueError(f"a shard is written like 2/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def directory(self) -> str:
        """The name of the directory of its results, inside that of the whole."""
        return f"shard-{self.number}-of-{self.of}"

    def places(self, total: int) -> range:
        """Which of ``total`` questions it asks."""
        return range((self.number - 1) * total // self.of, self.number * total // self.of)


def merge_shards(directory: Path) -> dict[str, Any]:
    """Put the finished shards inside a directory together there, as if they had been answered in one run.

    Returns:
        The summary, which is written too.

    Raises:
        FileNotFoundError: if there are no shards, or one is missing or not finished.
        ValueError: if they are of different cuts or settings, or the directory holds other answers.
    """
    found = [match for path in sorted(directory.glob("shard-*")) if (match := _NAME.fullmatch(path.name))]
    if not found:
        raise FileNotFoundError(f"{directory} holds no shards; answer them with --shard, from 1/N to N/N")
    cuts = sorted({int(match[2]) for match in found})
    if len(cuts) > 1:
        raise ValueError(f"{directory} holds shards of {' and of '.join(map(str, cuts))}; move those of one cut away")
    shards = [Shard(number, cuts[0]) for number in range(1, cuts[0] + 1)]
    settings: dict[str, Any] = {}
    records: list[AnswerRecord] = []
    runs: list[tuple[int, dict[str, Any]]] = []
    for shard in shards:
        place = directory / shard.directory
        summary, answers = read_finished(place)
        own = {**summary["settings"], "shard": None}
        check_same_settings(settings or own, own, place)
        settings = own
        runs += [(len(records) + run.pop("from_question"), run) for run in read_provenance(place)]
        records += answers
    whole = ResultSet(directory, settings, {})
    if whole.records not in ([], records):
        raise ValueError(f"{directory} holds other answers than its shards; move its files away")
    if not whole.records:
        whole.take(records, runs)
    return write_summary(whole, find_benchmark(settings["benchmark"]).corpus_metrics)


_NAME = re.compile(r"shard-(\d+)-of-(\d+)")
