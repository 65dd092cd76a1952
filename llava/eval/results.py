"""Results on disk: one line per answered question, and the settings that all lines of a file share.

A directory holds ``settings.json``, written first; ``records.jsonl``, which grows line by line, so that a killed run
loses at most the line it was writing; ``provenance.json``, which says which code wrote them from which line on, and on
which machine; and ``summary.json``, written when every question is answered.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from llava.eval.benchmarks.benchmark import BenchmarkSample
from llava.files import replacing, write_json
from shirg.settings import changed_settings

SETTINGS_FILE, RECORDS_FILE, SUMMARY_FILE = "settings.json", "records.jsonl", "summary.json"
PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True, kw_only=True)
class AnswerRecord:
    """One question, what the model said, and what that is worth."""

    id: str
    page: str
    kind: str
    question: str
    golds: tuple[str, ...]
    answer: str
    scores: Mapping[str, float]
    """Per metric, from 0 to 1."""
    detail_tokens: int | None
    """K; None for LaViDa's own encoding."""
    total_tokens: int
    """All image tokens."""
    traits: Mapping[str, str]
    """Of the page, as ``BenchmarkSample.traits``."""
    confidence: float
    """The least probability of its tokens, from 0 to 1."""
    answer_tokens: int
    """Tokens told, the end of turn included."""
    forwards: int
    """Passes through the language model until this answer was done, whatever its batch needed."""
    blank_share: float | None
    """Of the detail tokens, those that show nothing but paper; None for LaViDa's own encoding, or without any."""
    seconds: Mapping[str, float]
    """``encode`` (the page's, which its questions share), ``select``, ``denoise`` (an equal share of its batch's)."""
    fault: str | None = None
    """Why the question could not be asked. Such a record keeps its place in the file, and no score counts it."""

    @classmethod
    def broken(cls, sample: BenchmarkSample, fault: str) -> "AnswerRecord":
        """The record of a question that could not be asked."""
        return cls(
            id=sample.id,
            page=sample.page,
            kind=sample.kind,
            question=sample.question,
            golds=sample.golds,
            answer="",
            scores={},
            detail_tokens=None,
            total_tokens=0,
            traits=sample.traits,
            confidence=0.0,
            answer_tokens=0,
            forwards=0,
            blank_share=None,
            seconds={},
            fault=fault,
        )

    @classmethod
    def from_line(cls, line: str) -> "AnswerRecord":
        """What ``to_line`` wrote.

        Raises:
            ValueError: if the line is no record.
        """
        values = json.loads(line)
        names = {entry.name for entry in fields(cls)}
        if not isinstance(values, dict) or values.keys() | {"fault"} != names:
            raise ValueError(f"a record has the entries {', '.join(sorted(names))}, got {line[:80]!r}")
        return cls(**{**values, "golds": tuple(values["golds"])})

    def to_line(self) -> str:
        """The record as JSON in ASCII, without line breaks."""
        return json.dumps({name: value for name, value in asdict(self).items() if (name, value) != ("fault", None)})

    def is_about(self, sample: BenchmarkSample) -> bool:
        """Whether this is an answer to that question."""
        return (self.id, self.page, self.question, self.golds) == (
            sample.id,
            sample.page,
            sample.question,
            sample.golds,
        )


class ResultSet:
    """The results of one setting, and the file they grow in.

    Args:
        where: code and machine of what will be appended.

    Raises:
        ValueError: if the directory holds results of another setting, or a broken file.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any], where: Mapping[str, Any]) -> None:
        self.directory, self.settings = directory, settings
        self._where = dict(where)
        self._path = directory / RECORDS_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{directory} cannot be made ({error.strerror}); choose another directory") from error
        stored = directory / SETTINGS_FILE
        # Settings without an answer are those of a run that was refused, and bind nobody.
        if stored.exists() and self._path.exists() and self._path.stat().st_size:
            check_same_settings(_read_object(stored), settings, directory)
        elif self._path.exists() and not stored.exists():
            raise ValueError(f"{directory} holds {RECORDS_FILE} but no {SETTINGS_FILE}; choose another directory")
        else:
            write_json(settings, stored)
        self.records = read_records(self._path, mend=True) if self._path.exists() else []
        self._size = self._path.stat().st_size if self._path.exists() else 0
        self.provenance = read_provenance(directory)
        """What the answers came from, in order; each with the number of its first question, ``from_question``."""

    def check(self, samples: Sequence[BenchmarkSample], start: int) -> None:
        """Refuse records that are about other questions than those from number ``start`` on.

        Raises:
            ValueError: naming the first such line.
        """
        for number, (record, sample) in enumerate(zip(self.records[start:], samples, strict=False), start=start + 1):
            if not record.is_about(sample):
                raise ValueError(
                    f"{self._path}, line {number} answers {record.id}, but the question is {sample.id}: the benchmark "
                    "has changed since; choose another directory"
                )

    def take(self, records: Sequence[AnswerRecord], runs: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Take answers over from elsewhere, in place of none, with what they came from and from which question on."""
        with replacing(self._path) as file:
            file.writelines(record.to_line().encode("ascii") + b"\n" for record in records)
            for start, where in runs:
                self._note(start, where)
        self.records, self._size = [*records], self._path.stat().st_size

    def _note(self, start: int, where: Mapping[str, Any]) -> None:
        last = {name: value for run in self.provenance[-1:] for name, value in run.items() if name != "from_question"}
        if last != where:
            self.provenance.append({"from_question": start, **where})
            write_json({"runs": self.provenance}, self.directory / PROVENANCE_FILE)

    def append(self, records: Sequence[AnswerRecord]) -> None:
        """Add answers; each line is on its way to the disk before the next.

        Raises:
            ValueError: if another process has added answers meanwhile; these are then not written a second time.
        """
        with self._path.open("ab") as file:
            if file.tell() != self._size:
                raise ValueError(
                    f"another process is adding answers to {self._path}; wait for it and start again, which goes on "
                    "behind its last one, or choose another directory"
                )
            if records:
                self._note(len(self.records) + 1, self._where)
            for record in records:
                file.write(record.to_line().encode("ascii") + b"\n")
                file.flush()
            self._size = file.tell()
        self.records += records


def read_records(path: Path, *, mend: bool = False) -> list[AnswerRecord]:
    """All records of a file; ``mend`` cuts off a last line that a killed run has left torn.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the first line that is no record.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; let lavida eval answer the questions first")
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content) and mend:
        with path.open("r+b") as file:
            file.truncate(whole)
        content = content[:whole]
    records = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            records.append(AnswerRecord.from_line(line.decode("ascii")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no record: {error}; restore the file or start anew") from error
    return records


def read_finished(directory: Path) -> tuple[dict[str, Any], list[AnswerRecord]]:
    """The summary and the answered questions' records of a finished result directory.

    Raises:
        FileNotFoundError: if it holds no finished results.
        ValueError: if a file is broken.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no directory {directory}")
    if not (directory / SUMMARY_FILE).is_file():
        inside = sorted(str(path.parent) for path in directory.glob(f"*/{SUMMARY_FILE}"))
        mend = f"it holds several: {', '.join(inside)}" if inside else "let lavida eval finish it first"
        raise FileNotFoundError(f"{directory} holds no {SUMMARY_FILE}; {mend}")
    summary = _read_object(directory / SUMMARY_FILE)
    if missing := {"settings", "scores", "total_tokens"} - summary.keys():
        raise ValueError(
            f"{directory / SUMMARY_FILE} lacks {', '.join(sorted(missing))}; let lavida eval write it anew"
        )
    return summary, [record for record in read_records(directory / RECORDS_FILE) if record.fault is None]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); restore it or choose another directory") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object; restore it or choose another directory")
    return values


def read_provenance(directory: Path) -> list[dict[str, Any]]:
    """What a directory's answers came from, as ``ResultSet.provenance``; empty if nobody has said."""
    path = directory / PROVENANCE_FILE
    return list(_read_object(path).get("runs", [])) if path.exists() else []


def check_same_settings(stored: Mapping[str, Any], wanted: Mapping[str, Any], directory: Path) -> None:
    """Refuse settings that differ from those of the answers in a directory.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for name, before, now in changed_settings(stored, wanted):
        raise ValueError(
            f"{directory} holds results of another setting: {name} is {before!r} there and {now!r} here; choose "
            "another directory"
        )
