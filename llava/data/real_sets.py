"""Public sets to train on, by the names they have on the hub, as the same records that LLaVA's files give.

Sets with images inside their tables are read with ``datasets`` (the ``train`` extra), from the hub or from a directory
they were downloaded to. Sets of a JSON file and image archives are downloaded and unpacked by hand:

    hf download liuhaotian/LLaVA-Pretrain --repo-type dataset --local-dir DIR
    unzip DIR/images.zip -d DIR/images

Column names as on the sets' hub pages.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.data.mixture import Mixture, MixtureSource, choose
from llava.data.records import SHORT_ANSWER, Record, RecordStore, read_record, unique_ids
from llava.data.tables import TableImages, check_columns, filled, open_table, rows_of, values_of

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True)
class TableSet:
    """A set on the hub whose rows hold an image, and a question with its answers or a whole conversation.

    Raises:
        ValueError: if neither or both are named.
    """

    name: str
    """Begins the ids of its records."""
    hub: str
    config: str | None = None
    """The hub's configuration, where there are several."""
    split: str = "train"
    id: str | None = None
    """Column of ids; rows are named by their numbers without it."""
    image: str = "image"
    question: str | None = None
    answers: str | None = None
    """Column of one answer or of a list of them."""
    answer_choice: Literal["first", "most_common"] = "first"
    """Which answer to learn when there are several; of equally common ones the first."""
    conversations: str | None = None
    """Column of LLaVA's turns, instead of question and answers."""
    suffix: str = ""
    """Put behind every question."""

    def __post_init__(self) -> None:
        if (self.question is None) != (self.answers is None) or (self.question is None) == (self.conversations is None):
            raise ValueError(f"{self.name} must name the columns question and answers, or conversations")
        if self.answer_choice not in ("first", "most_common"):
            raise ValueError(f"answer_choice must be first or most_common, got {self.answer_choice!r}")


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """A set that is a file of LLaVA's records and a folder of images, both below one directory."""

    name: str
    hub: str
    json_path: str
    image_folder: str


REAL_SETS: Mapping[str, TableSet | FileSet] = MappingProxyType(
    {
        known.name: known
        for known in (
            # LCS-558K, LLaVA's captions to align the projector with.
            FileSet(
                name="lcs558k",
                hub="liuhaotian/LLaVA-Pretrain",
                json_path="blip_laion_cc_sbu_558k.json",
                image_folder="images",
            ),
            # The directory is the data folder of the set's own description, with coco, gqa, ocr_vqa and so on in it.
            FileSet(
                name="open_llava_next",
                hub="Lin-Chen/Open-LLaVA-NeXT-mix1M",
                json_path="open-llava-next/open-llava-next_instruct_mix1M.json",
                image_folder=".",
            ),
            TableSet(name="llava_next", hub="lmms-lab/LLaVA-NeXT-Data", id="id", conversations="conversations"),
            TableSet(
                name="chartqa", hub="HuggingFaceM4/ChartQA", question="query", answers="label", suffix=SHORT_ANSWER
            ),
            # lmms-lab/DocVQA, which evaluation reads, offers no train splits of DocVQA and InfographicVQA.
            TableSet(
                name="docvqa",
                hub="HuggingFaceM4/DocumentVQA",
                id="questionId",
                question="question",
                answers="answers",
                suffix=SHORT_ANSWER,
            ),
            TableSet(
                name="infovqa", hub="vidore/infovqa_train", question="query", answers="answer", suffix=SHORT_ANSWER
            ),
            # Ten people's answers to each question, of which most agree.
            TableSet(
                name="textvqa",
                hub="lmms-lab/textvqa",
                id="question_id",
                question="question",
                answers="answers",
                answer_choice="most_common",
                suffix=SHORT_ANSWER,
            ),
        )
    }
)


class TableRecords(RecordStore):
    """The rows of a table as records; their images stay in the table until they are asked for.

    Raises:
        ValueError: if a column is missing.
    """

    def __init__(
        self, rows: "datasets.Dataset", kind: TableSet, *, sampling_strategy: str = "all", seed: int = 0
    ) -> None:
        text = [name for name in (kind.id, kind.question, kind.answers, kind.conversations) if name is not None]
        check_columns(rows, {*text, kind.image}, kind.name)
        self._images = TableImages(rows, kind.image, kind.name)
        has_image = filled(rows, kind.image)
        texts = rows.select_columns(text)
        ids = unique_ids(values_of(texts, kind.id) if kind.id else range(len(rows)), kind.name)
        chosen = choose(sampling_strategy, len(rows), seed=seed, name=kind.name)
        flags = bytearray(len(rows))
        for index in chosen:
            flags[index] = True
        numbered = compress(enumerate(rows_of(texts)), flags)
        super().__init__(_table_record(row, index, ids[index], kind, has_image[index]) for index, row in numbered)

    def load_images(self, record: Record, count: int) -> list[Image.Image]:
        return [self._images.load(int(number)) for number in record.images[:count]]

    def missing_images(self, record: Record, count: int) -> list[str]:
        return []


def _table_record(row: Mapping[str, Any], index: int, id: str, kind: TableSet, has_image: bool) -> Record:
    image = str(index) if has_image else None
    if kind.conversations is not None:
        turns = row[kind.conversations]
    else:
        assert kind.question is not None
        assert kind.answers is not None
        if not has_image:
            return Record(id=id, source=kind.name, bad="it has no image")
        answer = choose_answer(row[kind.answers], kind.answer_choice)
        if answer is None or not isinstance(row[kind.question], str):
            return Record(id=id, source=kind.name, bad="it has no question or no answer")
        question = f"{DEFAULT_IMAGE_TOKEN}\n{row[kind.question].strip()}{kind.suffix}"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return read_record({"conversations": turns, "image": image}, id=id, source=kind.name)[0]


def choose_answer(answers: object, choice: str = "first") -> str | None:
    """The answer to learn of one or several, None if there is none that says anything."""
    given: Iterable[object] = [answers] if isinstance(answers, str) else answers if isinstance(answers, list) else []
    texts = [text.strip() for text in given if isinstance(text, str) and text.strip()]
    if not texts:
        return None
    return texts[0] if choice == "first" else Counter(texts).most_common(1)[0][0]


def read_real_set(
    which: str | TableSet | FileSet,
    location: str | Path | None = None,
    *,
    sampling_strategy: str = "all",
    seed: int = 0,
) -> RecordStore:
    """The records of a public set, one of ``REAL_SETS`` by name or described by the caller.

    Args:
        location: the directory it was downloaded to; without it ``datasets`` fetches a table from the hub.
        sampling_strategy: as for a dataset of a mixture.

    Raises:
        FileNotFoundError: if the directory or a file in it does not exist.
        ValueError: if no set has this name, ``datasets`` is not installed, or its files are not of the set's form or
            have to be downloaded first.
    """
    kind = REAL_SETS.get(which) if isinstance(which, str) else which
    if kind is None:
        closest = difflib.get_close_matches(str(which), REAL_SETS, n=1, cutoff=0.0)[0]
        raise ValueError(f"there is no real set {which!r}; did you mean {closest!r}?")
    if location is not None and not Path(location).is_dir():
        raise FileNotFoundError(f"there is no directory {location} with {kind.name}; check the path")
    if isinstance(kind, TableSet):
        rows = open_table(kind.name, hub=kind.hub, split=kind.split, config=kind.config, location=location)
        return TableRecords(rows, kind, sampling_strategy=sampling_strategy, seed=seed)
    if location is None:
        raise ValueError(f"{kind.name} must be downloaded from {kind.hub} and unpacked first; give its directory")
    source = MixtureSource(
        name=kind.name,
        json_path=Path(location, kind.json_path),
        image_folder=Path(location, kind.image_folder),
        sampling_strategy=sampling_strategy,
    )
    return Mixture([source], seed=seed)
