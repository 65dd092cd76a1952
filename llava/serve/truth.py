"""Where on a page the answer to a question stands, and what the question names, as far as somebody has said so."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from llava.pages import Box

TRUTH_FILE = "pages.json"
"""Lies beside the bundled pages: questions with the boxes of their answers and of what they name, in pixels: (left,
top, right, bottom)."""


def read_box(text: str) -> Box:
    """The box that ``X0,Y0,X1,Y1`` names, in [0, 1] of the page.

    Raises:
        ValueError: if it is none.
    """
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = y0 = x1 = y1 = 0.0
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(
            f"--evidence must be X0,Y0,X1,Y1: left, top, right and bottom, from 0 to 1 of the page, got {text!r}"
        )
    return x0, y0, x1, y1


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Boxes of one question, in [0, 1] of the page."""

    answer: tuple[Box, ...] = ()
    """Where the answer stands."""
    evidence: tuple[Box, ...] = ()
    """What the question names."""


def find_truth(path: str, page: int | None, question: str, image: Image.Image, named: Sequence[str] | None) -> Truth:
    """The boxes ``named``, which are the answer's, else what ``pages.json`` beside the file has for this question;
    empty if it has nothing.

    Raises:
        ValueError: if a named box is none.
    """
    if named:
        return Truth(answer=tuple(read_box(text) for text in named))
    file = Path(path).parent / TRUTH_FILE
    if not file.is_file():
        return Truth()
    width, height = image.size

    def part(box: Sequence[float]) -> Box:
        x0, y0, x1, y1 = box
        return x0 / width, y0 / height, x1 / width, y1 / height

    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        entries = [
            entry
            for entry in known
            if (entry["image"], entry.get("page") or 1, entry["question"]) == (Path(path).name, page or 1, question)
        ]
        return Truth(
            answer=tuple(part(entry["box"]) for entry in entries),
            evidence=tuple(part(box) for entry in entries for box in entry.get("evidence", ())),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        # A file of this name may be somebody else's.
        return Truth()
