"""Pages that other software made: no code that draws training pages had a part in them.

They lie here as PDFs, with ``questions.json``; ``scripts/assets/make_foreign_pages.py`` made both with a browser, an
office, typesetters and tools for charts. The splits share no layout.
"""

import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from llava.eval.benchmarks.benchmark import Benchmark, BenchmarkSample
from llava.image_io import load_pages
from llava.pages.theme import named_interval
from shirg.tiling import PageViews

FOLDER = Path(__file__).parent
LONG_SIDE = 1344
"""Pixels of a rendered page's longer side: twice those of one view, so that print is scaled down and stays sharp. Tiles
that take more get more."""


@cache
def read_notes() -> dict[str, Any]:
    """``pages`` by name: program, layout, split, the middle height of an em in pixels of a view of 672, and width over
    height; and ``questions`` in their order, with boxes from 0 to 1 of the page."""
    notes: dict[str, Any] = json.loads((FOLDER / "questions.json").read_text(encoding="utf-8"))
    return notes


class ForeignSamples:
    """The questions of one split; a page is rendered whenever its image is asked for."""

    def __init__(self, split: str) -> None:
        notes = read_notes()
        self._asked = [asked for asked in notes["questions"] if notes["pages"][asked["page"]]["split"] == split]

    def __len__(self) -> int:
        return len(self._asked)

    def __iter__(self) -> Iterator[BenchmarkSample]:
        for asked in self._asked:
            yield BenchmarkSample(
                id=f"foreign/{asked['id']}",
                page=f"foreign/{asked['page']}",
                kind=asked["kind"],
                question=asked["question"],
                golds=tuple(asked["answers"]),
                image=partial(render, asked["page"]),
                render=partial(render, asked["page"]),
                evidence=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in asked["evidence"]),
                traits=_traits(asked),
            )


def _traits(asked: dict[str, Any]) -> dict[str, str]:
    page = read_notes()["pages"][asked["page"]]
    return {
        "program": page["program"],
        "size": named_interval(page["letters"], (9, 11, 13, 16), " px"),
        "letters": named_interval(1 / page["shape"], (0.8, 1.25), " as wide as high"),
        "answer": "printed" if asked["printed"] else "worked out",
    }


def render(page: str, views: PageViews | None = None) -> Image.Image:
    """The picture of a page, ``LONG_SIDE`` pixels long, or longer where it takes more to fill these views."""
    path = FOLDER / f"{page}.pdf"
    if views is None:
        return load_pages(path, long_side=LONG_SIDE)[0]
    return load_pages(path, long_side=lambda shape: max(LONG_SIDE, views.long_side(shape)))[0]


def _read(split: str, style: str | None, data: str | None) -> ForeignSamples:
    return ForeignSamples(split)


FOREIGN = Benchmark(name="foreign", metrics=("anls", "exact_match"), splits=("test", "validation"), read=_read)
