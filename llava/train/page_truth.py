"""What a drawn page knows about its patches, made where pages are drawn: training steps need not wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llava.train.labeling import label_targets
from llava.train.pages import Page
from llava.train.reading import NAMES, PatchTargets, patch_targets
from shirg.transfer import to_device


@dataclass(frozen=True, kw_only=True)
class PageTruth:
    """One page's patches in raster order. On the host, and small: it travels from the data loader's workers."""

    shown: Tensor
    """(names, patches) int16: what each patch shows, for every entry of ``NAMES``."""
    labels: Tensor
    """(2, kinds, patches) int16: the label that each patch belongs to, and the one printed on it."""


def page_truth(page: Page, grid: int) -> PageTruth:
    """The truth about a page of ``grid`` x ``grid`` patches."""
    shown = torch.cat([*patch_targets([page], grid).values()])
    labels = torch.stack(label_targets([page], grid)).squeeze(2)
    return PageTruth(shown=shown.short(), labels=labels.short())


def shown_targets(truths: Sequence[PageTruth], device: torch.device) -> PatchTargets:
    """As ``patch_targets`` gives them for the same pages, on a device."""
    stacked = to_device(torch.stack([truth.shown for truth in truths], dim=1), device)
    return dict(zip(NAMES, stacked.long(), strict=True))


def stacked_labels(truths: Sequence[PageTruth], device: torch.device) -> Tensor:
    """(2, kinds, batch, patches) int64: what ``label_targets`` gives for the same pages, on a device."""
    return to_device(torch.stack([truth.labels for truth in truths], dim=2), device).long()
