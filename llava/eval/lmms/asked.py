"""Requests of lmms-eval: what each asks, which are denoised together, and what answering them took.

Nothing here needs lmms-eval.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from PIL import Image

from llava.eval.harness.dialogs import Message, Part
from llava.eval.lmms.arguments import Generation
from llava.inference.dialog import Reply

_IMAGE_FILES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    generation: Generation
    open_messages: Callable[[], list[Message]]
    """A task may have thousands of pages, so a page is read when its batch is due."""
    where: str
    """What messages call it."""
    repeat: int
    """How often the same was asked before in these requests (``--repeats``)."""

    def saying(self, messages: list[Message]) -> "Asked":
        """The same request with another conversation."""
        return replace(self, open_messages=lambda: messages)


def part_of(visual: Any) -> Part:
    """What a task shows, as a part of a message: lmms-eval's simple tasks give media without their kind."""
    if isinstance(visual, Image.Image):
        return "image", visual
    if isinstance(visual, str):
        return ("image" if Path(visual).suffix.lower() in _IMAGE_FILES else "video"), visual
    if isinstance(visual, dict):
        return str(visual.get("type", "audio")), visual
    return type(visual).__name__, visual


def cut_alike(asked: Sequence[Asked], size: int) -> Iterator[list[Asked]]:
    """Neighbors that are denoised alike, at most ``size`` of them, and one by one what is drawn at random."""
    for _, group in groupby(asked, key=lambda each: each.generation.decoding):
        rest = iter(group)
        while batch := list(islice(rest, size)):
            if batch[0].generation.random:
                yield from ([each] for each in batch)
            else:
                yield batch


@dataclass(kw_only=True)
class Tally:
    """What many answers took together."""

    answers: int = 0
    tokens: int = 0
    forwards: int = 0
    """Of each answer, as if it had been denoised alone."""
    seconds: float = 0.0

    def add(self, replies: Sequence[Reply]) -> None:
        """Count these as well."""
        self.answers += len(replies)
        self.tokens += sum(reply.told for reply in replies)
        self.forwards += sum(reply.forwards for reply in replies)
        self.seconds += sum(sum(reply.seconds.values()) for reply in replies)

    def metrics(self, rank: int) -> dict[str, Any]:
        """By the names of lmms-eval's ``log_metrics``."""
        return {
            "total_elapsed_time": self.seconds,
            "total_gen_tokens": self.tokens,
            "avg_speed": self.tokens / self.seconds if self.seconds else 0.0,
            "additional_metrics": {
                "rank": rank,
                "total_requests": self.answers,
                "forwards": self.forwards / self.answers,
                "tokens_per_forward": self.tokens / self.forwards,
            },
        }
