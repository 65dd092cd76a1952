"""All losses by their names in the settings."""

from collections.abc import Mapping
from types import MappingProxyType

from llava.train.losses.alignment import AlignmentLoss
from llava.train.losses.coordinate import CoordinateLoss
from llava.train.losses.grounding import GroundingLoss
from llava.train.losses.labeling import LabelingLoss
from llava.train.losses.loss import LossEntry
from llava.train.losses.pointing import PointingLoss
from llava.train.losses.reading import ReadingLoss
from llava.train.losses.speaking import SpeakingLoss

LOSSES: Mapping[str, LossEntry] = MappingProxyType(
    {
        # LaViDa's objective. 0 runs no language model: a stage that teaches only the tower and the projector.
        "denoising": LossEntry(weight=1.0),
        "reading": LossEntry(make=ReadingLoss, needs_pages=True),
        "alignment": LossEntry(make=AlignmentLoss, needs_pages=True, reads_head=True),
        "labeling": LossEntry(make=LabelingLoss, needs_pages=True),
        "pointing": LossEntry(make=PointingLoss, needs_pages=True, looks=True),
        "grounding": LossEntry(make=GroundingLoss, needs_pages=True, looks=True),
        "speaking": LossEntry(make=SpeakingLoss, needs_pages=True, looks=True, reads_head=True),
        "coordinate": LossEntry(weight=0.1, make=CoordinateLoss),
        # The teacher of a learned relevance, and the budget head's measured labels.
        "relevance": LossEntry(weight=0.1),
        "budget": LossEntry(weight=0.1),
    }
)
"""In the order in which they are logged."""
