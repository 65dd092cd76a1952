"""LLaVA's mixtures: a JSON list, a JSONL file, or a YAML file that samples from several of them.

A YAML file lists ``datasets`` with LLaVA-NeXT's sampling strategies. A file that cannot be understood is an error when
it is read; a record that cannot be understood is kept as bad.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from llava.data.records import Record, RecordStore, read_record, unique_ids
from llava.image_io import load_image
from llava.seeds import stable_seed
from shirg.settings import check_keys, read_yaml

_STRATEGY = re.compile(r"(first|end|random):(\d+(?:\.\d+)?)(%?)")


@dataclass(frozen=True, kw_only=True)
class MixtureSource:
    """One file of records, and how many of them to take.

    Raises:
        ValueError: if the strategy is not one of LLaVA-NeXT's, or the name would blur where ids come from.
    """

    json_path: Path
    """A JSON list or a JSONL file."""
    sampling_strategy: str = "all"
    """``all``, or ``first``, ``end`` or ``random`` with a number or percentage: ``first:1000``, ``random:10%``."""
    image_folder: Path | None = None
    """Where images are named from; the file's own folder when it is not given."""
    name: str
    """Begins the ids of its records."""

    def __post_init__(self) -> None:
        parse_strategy(self.sampling_strategy)
        if not self.name or "/" in self.name or "#" in self.name:
            raise ValueError(f"the name of a dataset must be a word without / and #, got {self.name!r}")


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What was read from a source."""

    name: str
    num_records: int
    """In the file."""
    num_chosen: int
    """By the sampling strategy."""
    num_bad: int
    """Chosen and of no use."""
    num_turns_left_out: int
    """System and assistant turns before the first question: the model has its own system turn, and answers to nothing
    teach nothing."""


def parse_strategy(strategy: object) -> tuple[str, Fraction, bool]:
    """(``all``, ``first``, ``end`` or ``random``; how many; whether that is a percentage).

    Raises:
        ValueError: for anything else, and for a number that takes nothing or more than everything.
    """
    if strategy == "all":
        return "all", Fraction(100), True
    match = _STRATEGY.fullmatch(strategy) if isinstance(strategy, str) else None
    if match is None:
        raise ValueError(
            f"sampling_strategy {strategy!r} does not exist; use all, first:N, end:N or random:N, with N a number or a "
            "percentage such as 10%"
        )
    amount, percent = Fraction(match[2]), bool(match[3])
    whole = percent or amount.denominator == 1
    if amount <= 0 or not whole or (percent and amount > 100):
        raise ValueError(
            f"sampling_strategy {strategy!r} must take a whole number of at least 1, or more than 0% and at most 100%"
        )
    return match[1], amount, percent


def choose(strategy: str, count: int, *, seed: int, name: str) -> list[int]:
    """Which of ``count`` records a strategy takes, ascending; percentages round up and too large numbers take all.

    ``random`` takes those whose drawn numbers are the lowest, so a smaller share is part of every larger one.

    Raises:
        ValueError: as ``parse_strategy``.
    """
    kind, amount, percent = parse_strategy(strategy)
    wanted = min(count, math.ceil(amount * count / 100) if percent else int(amount))
    if kind == "end":
        return list(range(count - wanted, count))
    if kind == "random" and wanted < count:
        return sorted(sorted(range(count), key=lambda index: stable_seed("choose", seed, name, index))[:wanted])
    return list(range(wanted))


class Mixture(RecordStore):
    """The records that sources give, in their order.

    Args:
        seed: decides what ``random`` strategies take.

    Raises:
        FileNotFoundError: if a file or a given image folder does not exist.
        ValueError: if a file holds no records that JSON can read, or two sources have one name.
    """

    def __init__(self, sources: Sequence[MixtureSource], *, seed: int = 0) -> None:
        names = [source.name for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two datasets of the mixture are named {name!r}; give one of them another name")
        self.summaries: list[SourceSummary] = []
        super().__init__(record for source in sources for record in self._read(source, seed))

    def _read(self, source: MixtureSource, seed: int) -> Iterator[Record]:
        if source.image_folder is not None and not source.image_folder.is_dir():
            raise FileNotFoundError(
                f"the image folder {source.image_folder} of {source.name} does not exist; check image_folder"
            )
        folder = str(source.image_folder or source.json_path.parent)
        raws = read_json_records(source.json_path)
        ids = unique_ids((raw.get("id") if isinstance(raw, dict) else None for raw in raws), source.name)
        chosen = choose(source.sampling_strategy, len(raws), seed=seed, name=source.name)
        num_bad = num_left_out = 0
        for index in chosen:
            record = Record(id=ids[index], source=source.name, folder=folder, bad="it is no mapping")
            raw, left_out = raws[index], 0
            if isinstance(raw, dict):
                record, left_out = read_record(raw, id=ids[index], source=source.name, folder=folder)
            num_bad += record.bad is not None
            num_left_out += left_out
            yield record
        summary = SourceSummary(
            name=source.name,
            num_records=len(raws),
            num_chosen=len(chosen),
            num_bad=num_bad,
            num_turns_left_out=num_left_out,
        )
        self.summaries.append(summary)

    def load_images(self, record: Record, count: int) -> list[Image.Image]:
        return [load_image(Path(record.folder, name)) for name in record.images[:count]]

    def missing_images(self, record: Record, count: int) -> list[str]:
        paths = [Path(record.folder, name) for name in record.images[:count]]
        return [str(path) for path in paths if not path.is_file()]


def read_json_records(path: Path) -> list[Any]:
    """The records of a JSON list, or of a JSONL file's lines.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither, naming the line, or empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no data file at {path}; check the path")
    if path.suffix not in (".json", ".jsonl"):
        raise ValueError(f"{path} must be a .json, .jsonl or .yaml file")
    if path.suffix == ".json":
        records = _parse_json(path.read_bytes(), path)
        if not isinstance(records, list):
            raise ValueError(f"{path} must hold a list of records, got a {type(records).__name__}")
    else:
        with path.open("rb") as lines:
            records = [_parse_json(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        raise ValueError(f"{path} holds no records")
    return records


def _parse_json(data: bytes, path: Path, line: int | None = None) -> Any:
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        hint = "; a file of one record a line ends in .jsonl" if line is None and error.msg == "Extra data" else ""
        place = f"line {line or error.lineno}, column {error.colno}"
        raise ValueError(f"{path}, {place}: this is not valid JSON: {error.msg}{hint}") from error
    except UnicodeDecodeError as error:
        place = f"line {line}" if line else f"byte {error.start}"
        raise ValueError(f"{path}, {place}: this is not UTF-8 text; save the file as UTF-8") from error


def read_sources(path: str | Path, *, image_folder: str | Path | None = None) -> list[MixtureSource]:
    """What a YAML file lists, or the one source that a JSON or JSONL file is; no record is read.

    Relative paths in a YAML file are read against its folder. Datasets without a name are named after their files,
    with a number where that is taken.

    Args:
        image_folder: for datasets that name none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no YAML of that form (the closest key is named for an unknown one).
    """
    path, default = Path(path), None if image_folder is None else Path(image_folder)
    if path.suffix not in (".yaml", ".yml"):
        return [MixtureSource(json_path=path, image_folder=default, name=_file_name(path))]
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), list) or not content["datasets"]:
        raise ValueError(f"{path} must hold a list of datasets under the key datasets")
    try:
        check_keys(content, ("datasets",))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    sources: list[MixtureSource] = []
    for number, entry in enumerate(content["datasets"], 1):
        place = f"{path}, dataset {number}"
        try:
            sources.append(_read_source(entry, path.parent, default, {source.name for source in sources}))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return sources


def _read_source(entry: object, home: Path, image_folder: Path | None, taken: set[str]) -> MixtureSource:
    if not isinstance(entry, dict) or "json_path" not in entry:
        raise ValueError(f"it must be a mapping with a json_path, got {entry!r:.80}")
    check_keys(entry, (field.name for field in fields(MixtureSource)))
    for key, value in entry.items():
        if not isinstance(value, str):
            raise ValueError(f"{key} must be a text, got {value!r:.80}")
    json_path = home / entry["json_path"]
    folder = home / entry["image_folder"] if "image_folder" in entry else image_folder
    name = entry.get("name") or _free_name(_file_name(json_path), taken)
    strategy = entry.get("sampling_strategy", "all")
    return MixtureSource(json_path=json_path, sampling_strategy=strategy, image_folder=folder, name=name)


def _file_name(path: Path) -> str:
    return path.stem.replace("#", "_")


def _free_name(name: str, taken: set[str]) -> str:
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 2))]
    return next(candidate for candidate in candidates if candidate not in taken)


def read_mixture(path: str | Path, *, image_folder: str | Path | None = None, seed: int = 0) -> Mixture:
    """The records that a JSON, JSONL or YAML file gives; see ``read_sources`` and ``Mixture``."""
    return Mixture(read_sources(path, image_folder=image_folder), seed=seed)
