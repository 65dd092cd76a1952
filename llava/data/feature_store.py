"""Drawn pages whose patches a tower has seen already, on disk: a language model learns from them without the tower.

A frozen tower says the same of a page every time, and running it is most of what a step of a small model costs. A store
is a folder of shards: tensors in safetensors, read through a memory map page by page, and what is text in JSON lines.

Axis names: pages (of a shard), patches (raster order), dim (vision width), samples, ids.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from llava.data.batch import Group
from llava.data.page_truth import PageTruth
from llava.data.sample import Sample
from llava.files import replacing, write_json, write_text
from llava.pages import PageQuestion
from llava.question import Question
from shirg.settings import changed_settings

SETTINGS_FILE = "store.json"
_FEATURES, _INKED = "features", "inked"
_RAGGED = ("input_ids", "labels", "pointers")


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenPage:
    """A page once a tower has seen it."""

    group: Group
    patches: Tensor
    """(patches, dim), kept in its dtype."""
    inked: Tensor
    """(patches,) bool: what shows more than paper."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The files of some pages."""

    tensors: Path
    lines: Path

    @classmethod
    def numbered(cls, folder: Path, number: int) -> "Shard":
        return cls(tensors=folder / f"{number:05}.safetensors", lines=folder / f"{number:05}.jsonl")


def write_shard(folder: Path, number: int, pages: Sequence[SeenPage]) -> None:
    """Write some pages; whoever finds the tensors' file finds a whole shard.

    Raises:
        ValueError: if the samples of a page have no truth.
    """
    groups = [page.group for page in pages]
    truths = [group[0].truth for group in groups]
    known = [truth for truth in truths if truth is not None]
    if len(known) != len(groups):
        raise ValueError("only drawn pages with their truth are stored; give the dataset a truth_grid")
    tensors = {
        _FEATURES: torch.stack([page.patches.detach().cpu() for page in pages]),
        _INKED: torch.stack([page.inked.cpu() for page in pages]),
    }
    for field in fields(PageTruth):
        tensors[f"truth.{field.name}"] = torch.stack([getattr(truth, field.name) for truth in known])
    samples = [sample for group in groups for sample in group]
    nothing = torch.zeros(0, 4, dtype=torch.int16)
    ragged: Mapping[str, list[Tensor]] = {
        "input_ids": [sample.input_ids.int() for sample in samples],
        "labels": [sample.labels.int() for sample in samples],
        "pointers": [nothing if sample.pointers is None else sample.pointers for sample in samples],
    }
    for name, rows in ragged.items():
        tensors[name] = torch.cat(rows)
    lines = [
        json.dumps(
            {
                "page": page,
                "id": sample.id,
                "sizes": sample.image_sizes,
                "question": None if sample.question is None else asdict(sample.question),
                "asked": None if sample.page_question is None else asdict(sample.page_question),
                "lengths": [len(rows[place]) for rows in ragged.values()],
            }
        )
        for place, (page, sample) in enumerate((page, sample) for page, group in enumerate(groups) for sample in group)
    ]
    shard = Shard.numbered(folder, number)
    folder.mkdir(parents=True, exist_ok=True)
    write_text("\n".join(lines) + "\n", shard.lines)
    with replacing(shard.tensors) as file:
        file.write(save(tensors))


def store_pages(
    folder: Path, pages: Iterable[SeenPage], *, settings: Mapping[str, Any], shard: int = 64
) -> Iterator[int]:
    """Write pages shard by shard behind those that are there; yields their number.

    Args:
        pages: from the first page that the folder does not hold (``count_pages``) on.
        settings: what made them; a folder holds pages of one making.

    Raises:
        ValueError: if the folder holds pages of another making.
    """
    file = folder / SETTINGS_FILE
    if file.is_file():
        check_making(folder, json.loads(file.read_text(encoding="utf-8")), settings)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(dict(settings), file)
    number, rest = len(_shards(folder)), iter(pages)
    while part := list(islice(rest, shard)):
        write_shard(folder, number, part)
        number += 1
        yield len(part)


def check_making(folder: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse pages of another making.

    Raises:
        ValueError: naming what differs.
    """
    changed = [f"{name} is {before!r}, not {now!r}" for name, before, now in changed_settings(stored, wanted)]
    if changed:
        raise ValueError(f"{folder} holds pages of another making: {'; '.join(changed)}; write them anew elsewhere")


def count_pages(folder: Path) -> int:
    """How many whole pages are there."""
    return sum(_num_pages(shard) for shard in _shards(folder))


class StoredPages(Dataset[Group]):
    """The pages of a folder, as groups of samples whose ``patches`` stand for their views.

    Args:
        questions: at most so many samples of each page, the first ones.

    Raises:
        FileNotFoundError: if the folder holds no page.
    """

    def __init__(self, folder: str | Path, *, questions: int | None = None) -> None:
        self.folder, self.questions = Path(folder), questions
        self._shards = _shards(self.folder)
        self._ends = list(accumulate(_num_pages(shard) for shard in self._shards))
        if not self._ends:
            raise FileNotFoundError(
                f"{folder} holds no stored pages; write them with python -m scripts.store_pages, or leave stored out"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What made the pages."""
        return dict(json.loads((self.folder / SETTINGS_FILE).read_text(encoding="utf-8")))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Group:
        if not 0 <= index < len(self):
            raise IndexError(f"page {index} of {len(self)}")
        number = next(place for place, end in enumerate(self._ends) if index < end)
        page = index - (self._ends[number - 1] if number else 0)
        shard = self._shards[number]
        lines = [line for line in _read_lines(shard.lines) if line["page"] == page][: self.questions]
        with safe_open(shard.tensors, framework="pt") as file:
            features, inked = (file.get_slice(name)[page] for name in (_FEATURES, _INKED))
            truth = PageTruth(
                **{field.name: file.get_slice(f"truth.{field.name}")[page] for field in fields(PageTruth)}
            )
            ragged = [
                {name: file.get_slice(name)[start:stop] for name, (start, stop) in line["spans"].items()}
                for line in lines
            ]
        return tuple(_sample(line, rows, features, inked, truth) for line, rows in zip(lines, ragged, strict=True))


def _sample(
    line: Mapping[str, Any], rows: Mapping[str, Tensor], features: Tensor, inked: Tensor, truth: PageTruth
) -> Sample:
    question, asked = line["question"], line["asked"]
    return Sample(
        id=line["id"],
        input_ids=rows["input_ids"].long(),
        labels=rows["labels"].long(),
        patches=features,
        inked=inked,
        image_sizes=tuple((width, height) for width, height in line["sizes"]),
        question=None if question is None else Question(ids=tuple(question["ids"]), text=question["text"]),
        truth=truth,
        page_question=None if asked is None else PageQuestion(**asked | _boxes(asked)),
        pointers=rows["pointers"] if len(rows["pointers"]) else None,
    )


def _boxes(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(tuple(box) for box in asked[name]) for name in ("answer_boxes", "evidence")}


def _shards(folder: Path) -> list[Shard]:
    """In the order of their numbers; those that are not whole are left out."""
    numbers = sorted(int(path.stem) for path in folder.glob("*.safetensors"))
    return [Shard.numbered(folder, number) for number in numbers]


@lru_cache(maxsize=4096)
def _num_pages(shard: Shard) -> int:
    with safe_open(shard.tensors, framework="pt") as file:
        return int(file.get_slice(_FEATURES).get_shape()[0])


@lru_cache(maxsize=256)
def _read_lines(path: Path) -> list[dict[str, Any]]:
    """What is known of each sample, with where it begins and ends in each of the ragged tensors."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    ends = dict.fromkeys(_RAGGED, 0)
    for line in lines:
        lengths = dict(zip(_RAGGED, line["lengths"], strict=True))
        line["spans"] = {name: (ends[name], ends[name] + length) for name, length in lengths.items()}
        ends = {name: stop for name, (_, stop) in line["spans"].items()}
    return lines
