"""Answers with a marked gap: what teaches a model to fill a gap whose length nobody knows.

After LaViDa-FIM (arXiv 2505.16839), in a form of our own: a part of the answer is padded with end-of-text and closed by
the infilling token, as in ``a [dog, end, end][infill] in the image``, so that at decoding a gap with room to spare ends
with padding instead of invented words. The rest of the answer is seen on both sides, as masks fall anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llava.seeds import stable_seed
from shirg.settings import Settings


@dataclass(frozen=True, kw_only=True)
class InfillConfig(Settings):
    """How many answers get a gap.

    Raises:
        ValueError: if the share is not from 0 to 1, or the padding is negative.
    """

    share: float = 0.0
    """Of all answers; 0 trains none."""
    longest_padding: int = 8
    """End-of-text tokens that a gap holds beyond its words, drawn from 0 to this."""

    def __post_init__(self) -> None:
        self.check_number("share", 0.0, 1.0)
        self.check_count("longest_padding", 0)


WHOLE = InfillConfig()
"""No gaps."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Where in an answer a gap ends, and what follows its words; where it starts is up to the masks."""

    end: float
    """From 0 to 1: as a share of the answer's words."""
    padding: int
    """End-of-text tokens; with none the gap is full."""
    infill_id: int
    """The token that closes the gap."""


def draw_gap(config: InfillConfig, infill_id: int | None, *key: object) -> Gap | None:
    """The gap of one answer, or None for an answer that stays whole; the same key draws the same.

    Raises:
        ValueError: if answers should have gaps and the model has no token to close them.
    """
    if not config.share:
        return None
    if infill_id is None:
        raise ValueError("infill: this model has no infilling token (infill_token_id in its config); set share to 0")
    import torch

    generator = torch.Generator().manual_seed(stable_seed("gap", *key))
    chance, end = torch.rand(2, generator=generator).tolist()
    padding = int(torch.randint(config.longest_padding + 1, (1,), generator=generator))
    return Gap(end=end, padding=padding, infill_id=infill_id) if chance < config.share else None


def open_gap(answer: Sequence[int], gap: Gap, *, pad_id: int) -> list[int]:
    """The answer's ids with padding and the infilling token behind the gap, which holds at least one word.

    Args:
        answer: ids that end with the end of turn, which is never in a gap.
    """
    words = len(answer) - 1
    place = min(int(gap.end * words) + 1, words)
    return [*answer[:place], *[pad_id] * gap.padding, gap.infill_id, *answer[place:]]
