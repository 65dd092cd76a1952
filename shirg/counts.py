"""How many patches a selection kept, merged and dropped: one count, for tables and for pictures."""

from dataclasses import dataclass

import torch

from shirg.shirg_selector import Selection


@dataclass(frozen=True, kw_only=True)
class PatchCounts:
    """What became of one image's patches; ``tokens``, ``merged`` and ``dropped`` add up to ``candidates``."""

    candidates: int
    """Patches that show a part of the page."""
    anchors: int
    tokens: int
    """Detail tokens that were kept: each stands at the place of one patch."""
    merged: int
    """Patches folded into one of these tokens. Those folded into a token that was then dropped count as dropped."""
    dropped: int

    @property
    def kept_patches(self) -> int:
        """Patches that the tokens are made of."""
        return self.tokens + self.merged


def count_patches(selection: Selection, *, candidates: int, index: int = 0) -> PatchCounts:
    """The counts of the image at ``index`` in the batch, which has so many ``candidates``."""
    tokens = selection.lengths[index]
    survivors = selection.kept[index, :tokens]
    kept_patches = int(torch.isin(selection.assignment[index], survivors).sum())
    return PatchCounts(
        candidates=candidates,
        anchors=int(selection.scores.anchors[index].sum()),
        tokens=tokens,
        merged=kept_patches - tokens,
        dropped=candidates - kept_patches,
    )
