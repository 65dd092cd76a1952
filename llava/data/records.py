"""One record of LLaVA's format, and a compact store of many.

A record has an id, an image, several or none, and a conversation with one ``<image>`` for each of them (LLaVA,
docs/Finetune_Custom_Data.md). One that cannot be understood is kept with the reason, so that whoever trains on the rest
can count it.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self, overload

from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN

Turn = tuple[str, str]
"""What a role said: (``user`` or ``assistant``, text)."""

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
"""How LLaVA asks for an answer that is scored by its words."""


FOREIGN_KEYS = {
    **dict.fromkeys(("video", "videos", "video_path", "frames", "num_frames"), "a video"),
    **dict.fromkeys(("audio", "audios", "speech", "sound"), "sound"),
    **dict.fromkeys(("point_cloud", "pointcloud", "point", "3d"), "points in space"),
    **dict.fromkeys(("chosen", "rejected"), "a preference between answers"),
    **dict.fromkeys(("tools", "functions"), "the use of tools"),
    **dict.fromkeys(("images", "image_path", "image_paths", "img"), "images under another name; call them image"),
    **dict.fromkeys(("bbox", "bboxes", "crop", "region", "mask", "masks", "image_mask"), "a part of its image"),
    **dict.fromkeys(("loss_mask", "train_mask"), "turns that are not to be learned"),
}
"""Keys of a record that change what it means, and what it is about then. Sources, sizes and the like change nothing."""
_FOREIGN_TURN_KEYS = ("loss", "train", "weight", "loss_mask", "trainable")
_FOREIGN_FILES = re.compile(r"\.(mp4|avi|mov|mkv|webm|m4v|wav|mp3|flac|ogg|ply|pcd)$", re.IGNORECASE)
_FOREIGN_PLACEHOLDER = re.compile(
    r"\A\s*<(video|audio|speech|sound|point|points|depth)>|<(video|audio|speech|sound|point|points|depth)>\s*\Z"
)
"""Where such files keep their placeholders: at a question's beginning or end. Elsewhere it may be HTML."""

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A conversation and the names of its images, or why it cannot be used."""

    id: str
    """``<source>/<id>``: names the record in the whole mixture."""
    source: str
    turns: tuple[Turn, ...] = ()
    """From a user to an assistant and back; one ``<image>`` in the user's turns for each of ``images``."""
    images: tuple[str, ...] = ()
    """As the file names them."""
    folder: str = ""
    """Where the images lie."""
    bad: str | None = None
    """What is wrong with it; it has no turns then."""


def unique_ids(ids: Iterable[object], source: str) -> list[str]:
    """``<source>/<id>`` for each record; LLaVA's files use some ids many times, and later ones get ``@<position>``.

    A record without an id (None or empty) is named by its position.
    """
    unique: dict[str, None] = {}
    for index, value in enumerate(ids):
        word = str(index) if value is None or value == "" else str(value)
        name = f"{source}/{word}".encode("utf-8", "replace").decode()
        while name in unique:
            name += f"@{index}"
        unique[name] = None
    return list(unique)


def read_turns(conversation: object) -> tuple[tuple[Turn, ...], int]:
    """The turns of LLaVA's ``conversations``, and how many before the first question were left out.

    Raises:
        ValueError: if the turns have other keys, roles or an order that does not alternate from question to answer, if
            one is empty, or if an answer holds an image.
    """
    if not isinstance(conversation, list) or not conversation:
        raise ValueError("conversations must be a list of turns")
    turns = [_read_turn(turn, number) for number, turn in enumerate(conversation, 1)]
    first = next((number for number, (role, _) in enumerate(turns) if role == "user"), len(turns))
    kept = tuple(turns[first:])
    roles = [role for role, _ in kept]
    if not kept or roles != ["user", "assistant"] * (len(kept) // 2):
        raise ValueError(
            f"turns must alternate from human to gpt and end with an answer, got {', '.join(role for role, _ in turns)}"
        )
    for role, text in kept:
        if role == "user" and (found := _FOREIGN_PLACEHOLDER.search(text)):
            raise ValueError(f"a question holds {found[0].strip()}, which is not read")
        if not text.strip():
            raise ValueError(f"a turn of the {role} is empty")
        if role == "assistant" and DEFAULT_IMAGE_TOKEN in text:
            raise ValueError(f"an answer holds {DEFAULT_IMAGE_TOKEN}")
    return kept, first


def _read_turn(turn: object, number: int) -> Turn:
    if not isinstance(turn, Mapping):
        raise ValueError(f"turn {number} must hold from and value, got {turn!r:.80}")
    role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    for key in _FOREIGN_TURN_KEYS:
        if key in turn and turn[key] not in (1, True, None):
            raise ValueError(f"turn {number} is not to be learned like the others (its key {key})")
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"turn {number} is from {role!r:.80}; use human and gpt")
    if not isinstance(text, str):
        raise ValueError(f"the value of turn {number} must be a text, got {text!r:.80}")
    _check_characters(text)
    return _ROLES[role], text


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half a character (a lone surrogate)") from error


def _read_images(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"image must be a file name or a list of them, got {value!r:.80}")
    for name in names:
        _check_characters(name)
    return tuple(name for name in names if name)


def place_images(turns: tuple[Turn, ...], num_images: int) -> tuple[Turn, ...]:
    """The turns with a placeholder for each image: written ones stay, a single image without one leads the first turn.

    Raises:
        ValueError: if there are more or fewer placeholders than images.
    """
    written = sum(text.count(DEFAULT_IMAGE_TOKEN) for _, text in turns)
    if num_images == 1 and not written:
        (role, text), *rest = turns
        return ((role, f"{DEFAULT_IMAGE_TOKEN}\n{text}"), *rest)
    if written != num_images:
        raise ValueError(f"it has {num_images} images but {written} {DEFAULT_IMAGE_TOKEN} placeholders")
    return turns


def _check_meaning(raw: Mapping[str, Any]) -> None:
    """Refuse a record that would say something else without what is not read of it.

    Raises:
        ValueError: saying what the record is about.
    """
    for key, about in FOREIGN_KEYS.items():
        if raw.get(key) not in (None, "", [], {}, False):
            raise ValueError(f"it is about {about} (its key {key})")
    for key, value in raw.items():
        named = value if isinstance(value, list) else [value]
        if any(isinstance(name, str) and _FOREIGN_FILES.search(name) for name in named):
            raise ValueError(f"its key {key} names a file that is no image: {named[0]!r:.80}")


def read_record(raw: Mapping[str, Any], *, id: str, source: str, folder: str = "") -> tuple[Record, int]:
    """The record that LLaVA's JSON describes, bad if it must be, and how many leading turns were left out."""
    try:
        _check_meaning(raw)
        turns, left_out = read_turns(raw.get("conversations"))
        images = _read_images(raw.get("image"))
        turns = place_images(turns, len(images))
    except ValueError as error:
        return Record(id=id, source=source, folder=folder, bad=str(error)), 0
    return Record(id=id, source=source, turns=turns, images=images, folder=folder), left_out


class RecordStore(Sequence[Record], ABC):
    """Records as one block of bytes: half a million stay small, and forked workers share them.

    Subclasses know where the images are.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._data, self._ends = bytearray(), array("q", [0])
        self.num_answers = array("i")
        """Per record; 0 for a bad one."""
        numbers: dict[tuple[str, str], int] = {}
        for record in records:
            place = numbers.setdefault((record.source, record.folder), len(numbers))
            texts = [text for _, text in record.turns]
            entry = [record.id, place, texts, record.images, record.bad]
            self._data += json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
            self._ends.append(len(self._data))
            self.num_answers.append(len(texts) // 2)
        self._places = list(numbers)

    def __len__(self) -> int:
        return len(self.num_answers)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where records come from, each once."""
        return tuple(dict.fromkeys(source for source, _ in self._places))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = range(len(self))[index]
        name, place, texts, images, bad = json.loads(self._data[self._ends[position] : self._ends[position + 1]])
        source, folder = self._places[place]
        turns = tuple(zip(("user", "assistant") * (len(texts) // 2), texts, strict=True))
        return Record(id=name, source=source, turns=turns, images=tuple(images), folder=folder, bad=bad)

    def take(self, positions: Iterable[int]) -> Self:
        """A store of some of the records, in this order, whose images are where these are."""
        part = copy(self)
        part._data, part._ends, part.num_answers = bytearray(), array("q", [0]), array("i")
        for position in positions:
            part._data += self._data[self._ends[position] : self._ends[position + 1]]
            part._ends.append(len(part._data))
            part.num_answers.append(self.num_answers[position])
        return part

    def digest(self) -> str:
        """32 hexadecimal digits of all records and their sources; the folders of images may move."""
        digest = hashlib.blake2b(repr([source for source, _ in self._places]).encode(), digest_size=16)
        digest.update(self._data)
        return digest.hexdigest()

    @abstractmethod
    def load_images(self, record: Record, count: int) -> list[Image.Image]:
        """The first ``count`` images of a record, in mode RGB.

        Raises:
            OSError, ValueError: if one is missing or damaged.
        """

    @abstractmethod
    def missing_images(self, record: Record, count: int) -> list[str]:
        """Those of the first ``count`` images that are not there, without opening any."""
