"""Which questions are denoised together: as many as memory is set aside for, those of like length side by side."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from torch import Tensor

from llava.inference.answer import Denoised, EncodedImage, VisualPrefix
from llava.model.language_model.diffusion.progress import Progress
from shirg.config import ShirgXConfig

BATCH_POSITIONS = 16_384
"""Of prompts, image tokens and answers that are denoised together: 20 questions at K = 512, 12 at K = 1,024."""
WINDOW_BATCHES = 4
"""Batches' worth of questions that are sorted by length before they are cut into batches."""


Finished = TypeVar("Finished", covariant=True)


class Askable(Protocol[Finished]):
    """What can be denoised together with others: a prompt whose images are encoded, and what becomes of its row."""

    @property
    def ids(self) -> Tensor:
        """(positions,) of the prompt; -200 stands for an image."""

    @property
    def sequences(self) -> Sequence[Tensor]:
        """Of each image in order, (tokens, width)."""

    def denoised(
        self, done: Progress, row: int, *, told: int, filled: int, shirg: ShirgXConfig | None, seconds: float
    ) -> Finished:
        """As of ``Prepared``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A question whose page is encoded and whose tokens are chosen."""

    page: EncodedImage
    """Without its encoding, which is let go."""
    question: str
    ids: Tensor
    """Of the prompt; -200 stands for the image."""
    prefix: VisualPrefix
    select_seconds: float

    @property
    def sequences(self) -> tuple[Tensor, ...]:
        """The image's tokens (tokens, width), the only ones."""
        return (self.prefix.tokens,)

    @property
    def length(self) -> int:
        """Positions of the prompt with its image."""
        return len(self.ids) - 1 + len(self.prefix.tokens)

    def denoised(
        self, done: Progress, row: int, *, told: int, filled: int, shirg: ShirgXConfig | None, seconds: float
    ) -> Denoised:
        """What came out of the denoising in which this question was a ``row``.

        Args:
            told: positions that the answer takes, the first ones.
            filled: those of them that were denoised.
            shirg: how tokens were chosen; None for LaViDa's own encoding.
            seconds: of the denoising, this question's share.
        """
        return Denoised(
            **outcome_of(done, row, told=told, filled=filled),
            prefix=self.prefix,
            image=self.page.image,
            blank=self.page.blank,
            notes=self.page.notes,
            shirg=shirg,
            seconds={"encode": self.page.seconds, "select": self.select_seconds, "denoise": seconds},
        )


def outcome_of(done: Progress, row: int, *, told: int, filled: int) -> dict[str, Any]:
    """What denoising itself says of a row, by the names of ``Denoised``; arguments as of ``Prepared.denoised``."""
    forwards = int(done.forwards[row])
    return {
        "tokens": tuple(done.tokens[row].tolist()),
        "confidence": float(done.probabilities[row, :told].min()),
        "steps": int(done.steps[row]),
        "forwards": forwards,
        "tokens_per_forward": filled / forwards,
        "settled_in": tuple(done.settled_in[row].tolist()),
    }


def cut_batches(lengths: list[int], answer: int, positions: int) -> list[list[int]]:
    """Places of questions to be denoised together; each batch takes at most ``positions`` with its padding.

    Batches are cut from the questions in the order of their lengths, so that little is padded. One that takes more
    than ``positions`` by itself is alone.

    Args:
        lengths: positions of each prompt.
        answer: positions of each answer.
    """
    order = sorted(range(len(lengths)), key=lambda place: (lengths[place], place))
    batches: list[list[int]] = []
    for place in order:
        # The longest of a batch is its last, to which all are padded.
        if batches and (len(batches[-1]) + 1) * (lengths[place] + answer) <= positions:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def windows(items: Iterable[Prepared], answer: int, positions: int) -> Iterator[list[Prepared]]:
    """The questions in their order, so many at once as fill a few batches: what is held at a time is bounded."""
    remaining = iter(items)
    while first := list(islice(remaining, 1)):
        window, used = first, first[0].length + answer
        while used < WINDOW_BATCHES * positions and (following := list(islice(remaining, 1))):
            window += following
            used += following[0].length + answer
        yield window


def page_key(image: Any) -> object:
    """Equal for what is surely the same page, as long as both are held."""
    return str(image) if isinstance(image, str | os.PathLike) else id(image)
