"""Which questions an evaluation asks."""

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from llava.eval.benchmarks.benchmark import Benchmark, BenchmarkSample, check_questions
from llava.eval.shards import Shard


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which questions of which benchmark. Data is opened at once, so that what is wrong with it is found here.

    Raises:
        FileNotFoundError: if the data is not there.
        ValueError: if the benchmark has no such split or style, its data cannot be asked about, or no question is asked
            for, or all of endlessly many are.
    """

    benchmark: Benchmark
    split: str
    style: str | None = None
    questions: int | None = None
    """All when not given."""
    data: str | None = None
    """A directory or a name on the hub; the benchmark's own when not given."""
    shard: Shard | None = None
    """The part of them to answer here; all when not given."""

    def __post_init__(self) -> None:
        check_questions(self.questions)
        endless = not isinstance(self._all, Sized)
        if self.questions is None and endless:
            raise ValueError(f"{self.benchmark.name} has questions without end; say how many")
        if self.shard is not None and self.shard.of > self.total:
            raise ValueError(f"{self.total} questions cannot be cut into {self.shard.of} shards; ask for fewer shards")

    @cached_property
    def _all(self) -> Iterable[BenchmarkSample]:
        return self.benchmark.open(split=self.split, style=self.style, data=self.data)

    @property
    def total(self) -> int:
        """How many questions all shards ask together."""
        numbers = [] if self.questions is None else [self.questions]
        return min([*numbers, len(self._all)] if isinstance(self._all, Sized) else numbers)

    @property
    def _places(self) -> range:
        return range(self.total) if self.shard is None else self.shard.places(self.total)

    @property
    def directory(self) -> str:
        """Where, inside the directory of the whole, the results of these questions go."""
        return "." if self.shard is None else self.shard.directory

    @property
    def count(self) -> int:
        """How many questions are asked here."""
        return len(self._places)

    def samples(self) -> Iterator[BenchmarkSample]:
        """The samples in their order, from the first again at each call."""
        return islice(self._all, self._places.start, self._places.stop)
