"""What a comparison asks, of which model, and in which rows; every part is checked before anything is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, no_type_check

from llava.eval.asked import Asked
from llava.eval.benchmarks.registry import find_benchmark
from llava.inference.checkpoint import BUNDLED_MODEL
from llava.inference.decoding import DECODINGS, find_decoding
from llava.model.language_model.diffusion.decoding import DecodingConfig
from shirg.settings import Settings


@dataclass(frozen=True, kw_only=True)
class BenchmarkChoice(Settings):
    """Questions to ask.

    Raises:
        ValueError: if there is no such benchmark, split or style, or pages without end are asked all their questions.
    """

    name: str
    style: str | None = None
    """Of drawn pages; the benchmark's own when not given."""
    split: str | None = None
    """The one to evaluate on when not given."""
    questions: int | None = 300
    """None for all of a data set."""
    data: str | None = None
    """A directory or a name on the hub, instead of the benchmark's own."""

    def __post_init__(self) -> None:
        self.check_text("name")
        benchmark = find_benchmark(self.name)
        if self.questions is not None:
            self.check_count("questions", 1)
        elif benchmark.styles:
            raise ValueError(f"{self.name} has questions without end; say how many")
        object.__setattr__(self, "style", benchmark.style if self.style is None else self.style)
        object.__setattr__(self, "split", benchmark.splits[0] if self.split is None else self.split)
        assert self.split is not None
        benchmark.check(split=self.split, style=self.style, data=self.data)

    @property
    def label(self) -> str:
        return "-".join(part for part in (self.name, self.style, self.split) if part)

    def open(self) -> Asked:
        """The questions, with the data opened.

        Raises:
            FileNotFoundError, ValueError: if the data is missing or cannot be asked about.
        """
        assert self.split is not None
        return Asked(
            benchmark=find_benchmark(self.name),
            split=self.split,
            style=self.style,
            questions=self.questions,
            data=self.data,
        )


def _numbers(value: Any, what: str, *words: str) -> tuple[Any, ...]:
    known = isinstance(value, list | tuple) and all(type(each) is int or each in words for each in value)
    if not known or not value:
        *others, last = "whole numbers", *words
        kinds = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{what} must be a list of {kinds}, got {value!r}")
    return tuple(value)


@no_type_check  # lists arrive from YAML and leave __post_init__ as tuples
@dataclass(frozen=True, kw_only=True)
class RowConfig(Settings):
    """One row of the table.

    Raises:
        ValueError: if the name is empty or would leave its directory, or the seeds are no list of numbers.
    """

    name: str
    method: str = "shirg_x"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to SHIRG-X's settings."""
    model: str | None = None
    """A checkpoint of this row's own; the configuration's when not given."""
    adapter: str | None = None
    budgets: tuple[int | Literal["auto", "question"], ...] | None = None
    """The configuration's when not given."""
    seeds: tuple[int, ...] = (0,)
    """Of choices at random; a row's score is the mean over them."""
    decoding: Literal["fast", "exact", "one-per-step"] | None = None
    """How its answers are denoised; the configuration's when not given."""
    denoising: Mapping[str, Any] = field(default_factory=dict)
    """Changes to that, by the names of ``DecodingConfig``."""
    trained: bool = False
    """Whether the model was trained to see tokens chosen this way, or meets them at inference only."""

    def __post_init__(self) -> None:
        self.check_text("name")
        self.check_pairs("settings")
        self.check_pairs("denoising")
        self.check_switch("trained")
        if self.decoding is not None:
            self.check_choice("decoding", tuple(DECODINGS))
        if any(character in self.name for character in "/\\|") or self.name.startswith("."):
            raise ValueError(f"a row's name must be a plain text without / and |, got {self.name!r}")
        object.__setattr__(self, "seeds", _numbers(self.seeds, f"seeds of row {self.name!r}"))
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds of row {self.name!r} must be at least 0 and differ, got {[*self.seeds]}")
        if self.budgets is not None:
            object.__setattr__(
                self, "budgets", _numbers(self.budgets, f"budgets of row {self.name!r}", "auto", "question")
            )

    @property
    def encoding(self) -> tuple[Any, ...]:
        """What the language model is shown; rows with the same of it differ in how answers are denoised."""
        return self.method, dict(self.settings), self.model, self.adapter, self.budgets, self.seeds


@no_type_check  # sections arrive as plain values and leave __post_init__ as what they describe
@dataclass(frozen=True, kw_only=True)
class AblationConfig(Settings):
    """What to compare, on what, with which model.

    Raises:
        ValueError: if anything in it is unknown or wrong, or two rows share a name.
    """

    out: str
    """Where every row's answers go."""
    benchmarks: tuple[BenchmarkChoice, ...]
    rows: tuple[RowConfig, ...]
    """The first is what the others are compared with."""
    tables: str | None = None
    """Where numbers, tables and plots go; ``out`` when not given."""
    model: str = str(BUNDLED_MODEL)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes to SHIRG-X's settings in every row; a row's own come on top."""
    budgets: tuple[int | Literal["auto", "question"], ...] = (512, 768, 1024)
    tokens: int = 32
    """Answer positions."""
    decoding: Literal["fast", "exact", "one-per-step"] = "fast"
    """How answers are denoised."""
    batch_size: int = 32
    evidence: bool = True
    """Whether to measure what survives of each question's evidence, for which every page is encoded once more."""
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, kind in (("benchmarks", BenchmarkChoice), ("rows", RowConfig)):
            entries = getattr(self, name)
            if not isinstance(entries, list | tuple) or not entries:
                raise ValueError(f"{name} must be a list of at least one, got {entries!r}")
            made = []
            for number, entry in enumerate(entries, 1):
                if isinstance(entry, kind):
                    made.append(entry)
                    continue
                if not isinstance(entry, Mapping):
                    raise ValueError(f"{name}, entry {number} must be 'name: value' pairs, got {entry!r}")
                try:
                    made.append(kind.from_dict(entry))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"{name}, entry {number}: {error}") from error
            object.__setattr__(self, name, tuple(made))
        self.check_text("out")
        self.check_text("model")
        self.check_choice("decoding", tuple(DECODINGS))
        if self.tables is not None:
            self.check_text("tables")
        self.check_pairs("settings")
        for what, names in (
            ("row needs a name of its own", [row.name for row in self.rows]),
            ("benchmark can be asked once", [choice.label for choice in self.benchmarks]),
        ):
            if repeated := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"each {what}, got {repeated[0]!r} twice")
        object.__setattr__(self, "budgets", _numbers(self.budgets, "budgets", "auto", "question"))
        for name in ("tokens", "batch_size"):
            self.check_count(name, 1)
        self.check_switch("evidence")

    def decoding_of(self, row: RowConfig) -> DecodingConfig:
        """How a row's answers are denoised.

        Raises:
            ValueError, TypeError: for settings that do not exist or fit.
        """
        changes = {"max_new_tokens": self.tokens, **row.denoising}
        return find_decoding(self.decoding if row.decoding is None else row.decoding, **changes)
