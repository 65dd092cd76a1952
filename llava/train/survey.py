"""The data of a run as people look at them: a table of what there is, and some samples as a page of pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from llava.data.conversations import ConversationDataset
from llava.files import write_text
from llava.pages import STYLES, draw_page
from llava.train.config import TrainConfig
from llava.train.datasets import LookedAt

_MEASURED = 1000
"""Samples whose texts are measured."""
_SIDE = 640
"""Pixels of the longer side of a picture in the sheet."""
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}"
    "img{max-width:100%;border:1px solid #ddd}table{border-collapse:collapse}"
    "th,td{padding:.1rem 1.25rem .1rem 0;text-align:left;vertical-align:top;white-space:pre-wrap}th{font-weight:normal}"
)

Rows = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample, as a person sees it."""

    id: str
    images: tuple[Image.Image, ...]
    question: str
    """With the turns before it."""
    answer: str


def survey_rows(config: TrainConfig, looked_at: LookedAt) -> Rows:
    """What there is, source by source, how long it is, and what cannot be used and why."""
    if config.pages is not None:
        pages = config.pages
        return [
            ("drawn pages", f"{pages.pages:,} of {', '.join(pages.families)}, drawn while training"),
            ("samples", f"{pages.pages * pages.questions:,}, {pages.questions} of a page"),
        ]
    dataset, report = looked_at.dataset, looked_at.report
    assert dataset is not None
    assert report is not None
    good = report.num_samples - report.num_bad
    rows: Rows = []
    for source in report.sources:
        bad = sum(source.faults.values())
        rows.append((source.name, f"{source.records:,} records, {source.samples:,} samples"))
        rows.append(("  share of the mixture", f"{(source.samples - bad) / max(1, good):.1%}"))
        found = source.looked_for - source.missing
        rows.append(("  images", f"{source.images:,} named, {found:,} found of {source.looked_for:,} looked for"))
        for kind, count in source.faults.items():
            rows.append((f"  {kind}", f"{count:,} samples left out"))
    rows.append(("samples", f"{good:,} of {report.num_samples:,} can be used"))
    if looked_at.held_out is not None:
        rows.append(("held out", f"{len(looked_at.held_out):,} records more, to be asked about"))
    return rows + _lengths(dataset)


def _lengths(dataset: ConversationDataset) -> Rows:
    places = _spread(dataset, _MEASURED)
    measured = np.array([dataset.measure(place) for place in places])
    image = dataset.tokens_per_image
    rows: Rows = []
    parts = {"prompt": measured[:, 0], "answer with padding": measured[:, 2]}
    if image is not None:
        parts["images"] = measured[:, 1] * image
        parts["all together"] = measured[:, 0] + parts["images"] + measured[:, 2]
    for name, lengths in parts.items():
        half, most = np.percentile(lengths, [50, 95])
        words = f"median {half:,.0f}, 95 % up to {most:,.0f}, longest {lengths.max():,}"
        rows.append((f"tokens, {name}", words))
    limit = dataset.config.max_sequence_length
    rows.append(("context of the model", f"{limit:,} tokens; {len(places):,} samples were measured"))
    return rows


def _spread(dataset: ConversationDataset, count: int) -> list[int]:
    """Positions of usable samples, from the first to the last."""
    usable = [place for place in range(len(dataset)) if place not in dataset.unusable]
    chosen = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    return [usable[number] for number in chosen]


def draw_examples(config: TrainConfig, looked_at: LookedAt, count: int = 10) -> Iterator[Example]:
    """Some samples, from the first to the last; one whose image is damaged says so as its answer."""
    if config.pages is not None:
        yield from _drawn(config, count)
        return
    dataset = looked_at.dataset
    assert dataset is not None
    for place in _spread(dataset, count):
        record, turn = dataset.find(place)
        turns = record.turns[: 2 * turn + 2]
        text = "\n".join(words for _, words in turns[:-1])
        answer, images = turns[-1][1], []
        try:
            images = dataset.records.load_images(record, text.count("<image>"))
        except (OSError, ValueError) as error:
            answer = f"(left out in training: {error})"
        yield Example(id=f"{record.id}#{turn}", images=tuple(images), question=text, answer=answer)


def _drawn(config: TrainConfig, count: int) -> Iterator[Example]:
    pages = config.pages
    assert pages is not None
    for index in range(min(count, pages.pages)):
        number = pages.first + index
        family = pages.families[number % len(pages.families)]
        page = draw_page(family, pages.split, pages.seed, number, STYLES[pages.style])
        asked = page.questions[0]
        name = f"{family}-{number}"
        yield Example(id=name, images=(page.image,), question=asked.question, answer=asked.answer)


def write_sheet(examples: Sequence[Example], rows: Rows, out: Path) -> Path:
    """Write ``index.html`` with the table and the examples, and their pictures beside it; gives the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    sections = []
    for number, example in enumerate(examples, 1):
        pictures = []
        for place, image in enumerate(example.images, 1):
            name = f"example-{number}-{place}.png"
            small = image.convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
            small.save(out / name)
            pictures.append(f'<img src="{name}" alt="">')
        words = _table([("question", example.question), ("answer", example.answer)])
        sections.append(f"<h2>{escape(example.id)}</h2>\n{words}{''.join(pictures)}\n")
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Training data</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Training data</h1>\n{_table(rows)}{''.join(sections)}</html>\n"
    )
    write_text(page, out / "index.html")
    return out / "index.html"


def _table(rows: Rows) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in rows)
    return f"<table>\n{lines}</table>\n"
