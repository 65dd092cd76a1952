"""All losses by their names in the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from shirg.lazy import Lazy


@dataclass(frozen=True, kw_only=True)
class LossEntry:
    """A loss by its name in the settings; another one is a file and an entry of ``LOSSES``."""

    weight: float = 0.0
    """Unless the settings say another."""
    make: Callable[..., Any] | None = None
    """The ``Loss`` for a ``LossSetup``; None for losses that the training step itself computes."""
    needs_pages: bool = False
    """Drawn ones, whose patches and answers have known places."""
    reads_head: bool = False
    """Whether it reads the language model's head as a plain tensor, which ZeRO-3 spreads over processes."""
    runs_tower: bool = False
    """Whether it looks into the vision tower or at pixels, so that stored pages will not do."""
    looks: bool = False
    """Whether it teaches the language model's attention, so that there must be a pass over answers."""


def _made(module: str, name: str) -> Lazy:
    return Lazy(f"{__package__}.{module}", name)


LOSSES: Mapping[str, LossEntry] = MappingProxyType(
    {
        # LaViDa's objective. 0 runs no language model: a stage that teaches only the tower and the projector.
        "denoising": LossEntry(weight=1.0),
        "reading": LossEntry(make=_made("reading", "ReadingLoss"), needs_pages=True, runs_tower=True),
        "alignment": LossEntry(make=_made("alignment", "AlignmentLoss"), needs_pages=True, reads_head=True),
        "labeling": LossEntry(make=_made("labeling", "LabelingLoss"), needs_pages=True, runs_tower=True),
        "words": LossEntry(make=_made("words", "WordsLoss"), needs_pages=True, runs_tower=True),
        "gathering": LossEntry(make=_made("gathering", "GatheringLoss"), needs_pages=True),
        "pointing": LossEntry(make=_made("pointing", "PointingLoss"), needs_pages=True, looks=True),
        "grounding": LossEntry(make=_made("grounding", "GroundingLoss"), needs_pages=True, looks=True),
        "speaking": LossEntry(make=_made("speaking", "SpeakingLoss"), needs_pages=True, looks=True, reads_head=True),
        "coordinate": LossEntry(weight=0.1, make=_made("coordinate", "CoordinateLoss")),
        # The teacher of a learned relevance, and the budget head's measured labels.
        "relevance": LossEntry(weight=0.1),
        "budget": LossEntry(weight=0.1, runs_tower=True),
    }
)
"""In the order in which they are logged."""
